-- whether: the next token is settled earlier in memorized text than in other text of like entropy
-- more: the largest model settles the next token of memorized text {} of its depth later than in other text of like entropy
-- less: the largest model settles the next token of memorized text {} of its depth earlier than in other text of like entropy
-- unit: %
select family, model, corpus, sample, difference as value, difference_low as low, difference_high as high, 0 as none,
    case when note is not null then note || ' pairs of like entropy' when difference_low is null then 'no interval' end
        as note
from largest(decoding_depth)
where "group" = 'memorized'
