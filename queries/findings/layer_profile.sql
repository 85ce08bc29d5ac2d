-- One row is one relative depth of one model on one corpus under one method: how much a head there matters.
--
-- Why this number: models differ in their number of layers, so layers are compared at the same relative depth. Layer
-- l of L lies at l / (L - 1); `points` evenly spaced depths are read off the layers' means by linear interpolation.
-- A layer's mean is over its heads and then over domains, each with equal weight, so that neither the number of
-- heads nor a larger sample of a domain moves it.
-- Leaves out: how drops differ between the heads of a layer (head_importance has each); that depth is not function,
-- and that models with few layers have nothing between them but the line. A head that screening dropped counts with
-- what was measured of it, or with screening's second-order estimate (incomplete counts them).
-- Units: mean_drop in nats over the continuation (clean - ablated), a head; relative is a share of the profile's
-- largest.
-- Source: arXiv 2603.21658, section 4.8.
-- Key: model, corpus, sample_rule, sample_window, condition, method, depth
-- Columns:
--   family, model, miniature, params, corpus, role, sample_rule, sample_window, condition, method
--   domains     domains that are averaged
--   layers      layers of the model
--   incomplete  (head, domain) pairs not measured on all sequences
--   depth       relative depth, from 0 (first layer) to 1 (last)
--   mean_drop   mean drop of log-probability for one head at this depth
--   relative    mean_drop / its largest value in the profile; NULL where none is positive
with parameters as (select
    11 as points,       -- depths at which profiles are read, at least 2
    true as known       -- of sequences that the model memorized; false: of the others that were measured
), profiles as (
    select model, corpus, sample_rule, sample_window, condition, method, max(domains) as domains, count(*) as layers,
        sum(incomplete)::bigint as incomplete, at_depths(list(mean_drop order by layer), any_value(points)) as drops
    from layer_drops
    join parameters using (known)
    group by model, corpus, sample_rule, sample_window, condition, method
), read as (
    select model, corpus, sample_rule, sample_window, condition, method, domains, layers, incomplete,
        list_max(drops) as largest, unnest(range(points)) / (points - 1) as depth, unnest(drops) as mean_drop
    from profiles, parameters
)
select family, model, miniature, params, corpus, role, sample_rule, sample_window, condition, method, domains, layers,
    incomplete, depth, mean_drop, if(largest > 0, mean_drop / largest, null) as relative
from labelled(read)
order by family, params, model, corpus, sample_rule, sample_window, method, depth
