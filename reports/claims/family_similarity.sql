-- whether: layer profiles are alike within a family
-- more: layer profiles within the family are more alike than across families, by {} of correlation
select family, models || ' models' as model, null as corpus, sample, difference as value, p_adjusted as p, 0 as none,
    if(note = 'too few', 'too few models', note) as note
from of_sample(family_similarity)
where method = 'peer_mean'
