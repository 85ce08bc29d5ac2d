-- whether: some heads matter for memorized text of every domain
-- more: {} of the largest model's heads are important in every domain, more than chance within their layers gives
-- unit: %
select family, model, corpus, sample, universal_share as value, adjusted_p(p_by_layer, step, 0) as p,
    expected_by_layer_share as none, note
from (select *, adjusting(p_by_layer, 0) as step from largest(universal_heads) where method = 'peer_mean')
