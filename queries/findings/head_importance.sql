-- One row is one attention head of one model in one domain under one method: what the continuation loses without it.
--
-- Why this number: what a model loses when a head's output is replaced says what the head does there. The drop of
-- the continuation's log-probability is graded, so that it tells heads apart where hardly any flips the verbatim
-- flag; the share of memorized sequences that are lost is the studies' own measure and stands beside it. Heads are
-- ranked by the drop, ties by layer and head. A model's important heads in a domain are the first `share` of all its
-- heads, at least one.
-- Sequences are those that the model memorized. What head_ablation measured of others (--among contrast or all) is
-- never among them: `known=false` asks for it, in this finding and the others about heads.
-- Interval: 95 %, Student's t for the drop and Wilson's for the share. Documents count as one observation each,
-- weighted by their sequences: exact where a document holds one sequence, as samples do until documents run out, and
-- too wide where it holds several. Documents that are exact copies count as one.
-- Test: p asks by the same t whether the head's mean drop is other than 0. A model has as many tests in a domain as
-- heads; who picks from all of them reads p_adjusted (Benjamini and Hochberg; up to 10 heads Holm: see adjusted_p in
-- macros.sql). The drops of the heads that lead a ranking are too large on average, since they were picked for it; the
-- intervals, each of one head, do not allow for that.
-- Leaves out: that heads replace each other, so that one taken away alone may look idle; anything besides the
-- continuation. A head that screening dropped was measured on fewer sequences (n below those of complete heads) or
-- none: it has no rank and is never important.
-- Units: drops in nats over the continuation (clean - ablated, positive where the head helps); shares in [0, 1].
-- Source: arXiv 2603.21658, section 4.6.
-- Key: model, corpus, sample_rule, sample_window, condition, domain, method, layer, head
-- Columns:
--   family, model, miniature, params, corpus, role, sample_rule, sample_window, condition, domain, method
--   layer       block, from 0
--   head        query head, from 0
--   n           sequences on which it was taken away
--   documents   distinct texts that the domain's sequences lie in
--   mean_drop   mean drop of the log-probability; NULL: not measured
--   drop_low    lower end of its interval; NULL: one document, or drops all the same
--   drop_high
--   p           probability of a mean drop as far from 0, were it 0; NULL: one document, or drops all the same
--   p_adjusted
--   tests       heads of the model in the domain that have a p
--   memorized   sequences of the domain that are memorized with the head
--   lost        of these, not without it; NULL where it was not taken away on all
--   lost_share  lost / memorized; NULL where that is 0 / 0
--   lost_low, lost_high
--   place       rank in the domain, 1 for the largest drop; NULL: not taken away on all sequences
--   important   among the model's important heads in the domain
with parameters as (select
    0.2 as share,       -- share of a model's heads that count as important
    true as known       -- of sequences that the model memorized; false: of the others that were measured
), documents as (
    select model, corpus, domain, sample_rule, sample_window, condition, method, text, count(*) as n,
        count(*) filter (memorized) as m
    from head_sequences
    where known = (select known from parameters)
    group by all
), domains as (     -- *_worth: as many documents of equal size (Kish 1965, 11.7)
    select model, corpus, domain, sample_rule, sample_window, condition, method, count(*) as documents,
        sum(n) * sum(n) / sum(n * n) as worth, sum(m)::bigint as memorized,
        sum(m) * sum(m) / nullif(sum(m * m), 0) as memorized_worth
    from documents
    group by all
), measured as (
    select h.*, documents, memorized, memorized_worth, worth * n / n_all as trials, floor(trials) - 1 as df,
        sqrt(if_any(variance, mean_drop ** 2) / trials) as error,
        if(complete, n_lost, null) as lost, lost / nullif(memorized, 0) as lost_share,
        is_important(place, heads, share) as important
    from head_drops h
    left join domains d
        on h.model = d.model and h.corpus = d.corpus and h.domain = d.domain and h.condition = d.condition
        and h.method = d.method
        and h.sample_rule is not distinct from d.sample_rule
        and h.sample_window is not distinct from d.sample_window
    join parameters using (known)
), tested as (
    select *, student_p(mean_drop / error, df) as p,
        (model, corpus, domain, sample_rule, sample_window, condition, method) as ranking
    from measured
), stepped as (
    select *, adjusting(p, ranking) as step from tested
)
select family, model, miniature, params, corpus, role, sample_rule, sample_window, condition, domain, method,
    layer, head, n, coalesce(documents, 0) as documents, mean_drop,
    mean_drop - student_t(df) * error as drop_low, mean_drop + student_t(df) * error as drop_high,
    p, adjusted_p(p, step, ranking) as p_adjusted, count(p) over (partition by ranking) as tests,
    coalesce(memorized, 0) as memorized, lost, lost_share,
    if(lost_share is null, null, wilson_low(lost_share, memorized_worth)) as lost_low,
    if(lost_share is null, null, wilson_high(lost_share, memorized_worth)) as lost_high,
    place, important
from labelled(stepped)
order by family, params, model, corpus, sample_rule, sample_window, domain, method, place nulls last, layer, head
