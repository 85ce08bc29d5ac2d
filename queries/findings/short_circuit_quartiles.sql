-- One row is one quarter of the blocks of one model on one corpus of studied text: what short-circuiting one block of
-- it costs of what is memorized, and of the accuracy on text never seen.
--
-- Why this number: single blocks scatter; averaged over a quarter of the depth, models of unlike depth compare, and
-- one sees where attention serves memorization more than ability. Both drops are relative to the whole model: the
-- share of its memorized sequences, and the share of its correct predictions on control text, that are lost. Block b
-- of L lies in the quarter of the depth that holds its middle, (b + 0.5) / L.
-- Interval: 95 %, document-cluster: a document with all its sequences under all blocks of the quarter is one cluster
-- (effective_n and cluster_margin in macros.sql). That of the held-out drop is paired, sequence by sequence.
-- Leaves out: ranges of blocks; differences within a quarter (short_circuit_tradeoff has the blocks) and between
-- domains. Models with fewer than 4 blocks lack some quarters.
-- Units: drops are shares of what the whole model does; a negative drop is a gain.
-- Source: arXiv 2501.05078, section 5.
-- Key: model, corpus, sample_rule, sample_window, condition, quarter
-- Columns:
--   family, model, miniature, params
--   corpus              corpus of the memorized sequences
--   role                'trained'; NULL: not known
--   sample_rule, sample_window, condition
--   quarter             1 (first blocks) to 4 (last blocks)
--   blocks              blocks of the quarter that were measured
--   documents           documents with memorized sequences
--   pairs               (memorized sequence, block) pairs
--   exact_drop          share of them in which the sequence is no longer produced in full
--   exact_drop_low, exact_drop_high
--   held_out_documents  documents of control text
--   held_out_base       share of control tokens that the whole model produces; NULL: not measured
--   held_out_accuracy   the same with one block short-circuited, mean over the blocks
--   held_out_drop       (held_out_base - held_out_accuracy) / held_out_base
--   held_out_drop_low   lower end of its interval; NULL: one document, or all alike
--   held_out_drop_high  upper end of its interval; NULL: one document, or all alike
with measured as (
    select b.model, corpus, role, b.sample_rule, b.sample_window, condition, first_block as block,
        1 + (4 * first_block + 2) // n_layers as quarter, text,
        m.memorized as known, b.memorized, b.n_match, m.forced_n_match as base, b.n_tokens
    from with_text(block_deltas) b
    join (select model, n_layers from models) using (model)
    join matches m using (model, corpus, domain, sequence_id, condition)
    left join model_corpora using (model, corpus)
    where first_block = last_block
), memory as (
    select model, corpus, sample_rule, sample_window, condition, quarter,
        len(list_distinct(flatten(list(blocks)))) as blocks, count(*) as documents, sum(n)::bigint as pairs,
        sum(lost) / sum(n) as exact_drop,
        cluster_low(lost, n) as exact_drop_low, cluster_high(lost, n) as exact_drop_high
    from (
        select model, corpus, sample_rule, sample_window, condition, quarter, text,
            list(distinct block) as blocks, count(*) as n, count(*) filter (not memorized) as lost
        from measured
        where known and role is distinct from 'control'
        group by all
    )
    group by all
), ability as (
    select model, sample_rule, sample_window, quarter, count(*) as held_out_documents,
        sum(base) / sum(n_tokens) as held_out_base, sum(n_match) / sum(n_tokens) as held_out_accuracy,
        sum(base - n_match) / nullif(sum(base), 0) as held_out_drop,
        held_out_drop - cluster_margin(base - n_match, base) as held_out_drop_low,
        held_out_drop + cluster_margin(base - n_match, base) as held_out_drop_high
    from (
        select model, sample_rule, sample_window, quarter, text,
            sum(n_match) as n_match, sum(base) as base, sum(n_tokens) as n_tokens
        from measured
        where role = 'control' and base is not null
        group by all
    )
    group by all
), beside as (
    select m.*, a.* exclude (model, sample_rule, sample_window, quarter)
    from memory m
    left join ability a on a.model = m.model and a.quarter = m.quarter
        and a.sample_rule is not distinct from m.sample_rule and a.sample_window is not distinct from m.sample_window
)
select family, model, miniature, params, corpus, role, sample_rule, sample_window, condition,
    quarter, blocks, documents, pairs, exact_drop, exact_drop_low, exact_drop_high,
    coalesce(held_out_documents, 0) as held_out_documents, held_out_base, held_out_accuracy, held_out_drop,
    held_out_drop_low, held_out_drop_high
from labelled(beside)
order by family, params, model, corpus, sample_rule, sample_window, quarter
