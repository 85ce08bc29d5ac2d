-- One row is one range of short-circuited blocks under one model and one corpus of studied text: what it keeps of
-- what the model memorized there, and of what the model does on text it never saw.
--
-- Why this number: short-circuiting the attention of a block (its weights become the identity) may undo memorization
-- and leave ability whole; whether it does is seen only with both side by side. Memorization: sequences that the whole
-- model memorized, so that its exact match, its token accuracy and the base of both is 1. Ability: token accuracy on
-- all sequences of the model's control corpora, sampled alike, and, where lm-eval tasks were run, their mean score.
-- Interval: 95 %, document-cluster (effective_n and cluster_margin in macros.sql). A change is paired: each sequence
-- is compared with itself under the whole model. Task scores have none here; see benchmark_scores.stderr.
-- Leaves out: text that the whole model did not memorize; models that memorized nothing; differences between domains,
-- which are pooled. All read-outs are teacher-forced. Held-out columns say the same for each corpus of a model.
-- Units: accuracies and exact match are shares in [0, 1]; entropy is in nats, summed over the continuation.
-- Source: arXiv 2501.05078, section 5.
-- Key: model, corpus, sample_rule, sample_window, condition, first_block, last_block
-- Columns:
--   family, model, miniature, params
--   corpus                corpus of the memorized sequences
--   role                  'trained'; NULL: not known
--   sample_rule, sample_window, condition, n_layers
--   first_block           first short-circuited block, from 0
--   last_block            last such block
--   depth                 middle of the range as a share of all blocks
--   n                     sequences that the whole model memorized
--   documents
--   exact_match           share of them that are still produced in full
--   exact_match_low, exact_match_high
--   token_accuracy        share of their tokens that are still produced
--   token_accuracy_low, token_accuracy_high
--   entropy               their mean completion entropy
--   entropy_change        its mean change (short-circuited - whole)
--   entropy_change_low    lower end of its interval; NULL: one document, or all alike
--   entropy_change_high   upper end of its interval; NULL: one document, or all alike
--   held_out_n            control sequences
--   held_out_documents    distinct texts they lie in
--   held_out_accuracy     share of their tokens produced; NULL: not measured
--   held_out_base         the same under the whole model
--   held_out_change       held_out_accuracy - held_out_base
--   held_out_change_low   lower end of its interval; NULL: one document, or all alike
--   held_out_change_high  upper end of its interval; NULL: one document, or all alike
--   tasks                 lm-eval tasks that were run both so and on the whole model
--   task_score            mean of their scores; NULL: none
--   task_base             the same under the whole model
with parameters as (select
    'acc' as metric     -- metric of lm-eval, its filter apart, that stands for a task
), measured as (
    select b.model, corpus, role, b.sample_rule, b.sample_window, condition, first_block, last_block,
        text, m.memorized as known, b.memorized, b.n_match, m.forced_n_match as base, b.n_tokens,
        b.completion_entropy as entropy, b.completion_entropy - m.completion_entropy as entropy_change
    from with_text(block_deltas) b
    join matches m using (model, corpus, domain, sequence_id, condition)
    left join model_corpora using (model, corpus)
), memory as (
    select model, corpus, sample_rule, sample_window, condition, first_block, last_block, sum(n)::bigint as n,
        count(*) as documents,
        sum(m) / sum(n) as exact_match,
        cluster_low(m, n) as exact_match_low, cluster_high(m, n) as exact_match_high,
        sum(n_match) / sum(n_tokens) as token_accuracy,
        cluster_low(n_match, n_tokens) as token_accuracy_low, cluster_high(n_match, n_tokens) as token_accuracy_high,
        sum(entropy) / sum(n) as entropy,
        sum(change) / nullif(sum(n_change), 0) as entropy_change,
        entropy_change - cluster_margin(change, n_change) as entropy_change_low,
        entropy_change + cluster_margin(change, n_change) as entropy_change_high
    from (
        select model, corpus, sample_rule, sample_window, condition, first_block, last_block, text,
            count(*) as n, count(*) filter (memorized) as m, sum(n_match) as n_match, sum(n_tokens) as n_tokens,
            sum(entropy) as entropy, sum(entropy_change) as change, count(entropy_change) as n_change
        from measured
        where known and role is distinct from 'control'
        group by all
    )
    group by all
), ability as (
    select model, sample_rule, sample_window, first_block, last_block,
        sum(n)::bigint as held_out_n, count(*) as held_out_documents,
        sum(n_match) / sum(n_tokens) as held_out_accuracy, sum(base) / sum(n_tokens) as held_out_base,
        held_out_accuracy - held_out_base as held_out_change,
        held_out_change - cluster_margin(n_match - base, n_tokens) as held_out_change_low,
        held_out_change + cluster_margin(n_match - base, n_tokens) as held_out_change_high
    from (
        select model, sample_rule, sample_window, first_block, last_block, text,
            count(*) as n, sum(n_match) as n_match, sum(base) as base, sum(n_tokens) as n_tokens
        from measured
        where role = 'control' and base is not null
        group by all
    )
    group by all
), tasks as (
    select s.model, s.first_block, s.last_block,
        count(*) as tasks, avg(s.value) as task_score, avg(whole.value) as task_base
    from benchmark_scores s
    join benchmark_scores whole using (model, condition, task, metric), parameters p
    where s.first_block is not null and whole.first_block is null and split_part(s.metric, ',', 1) = p.metric
    group by all
), beside as (
    select m.*, a.* exclude (model, sample_rule, sample_window, first_block, last_block)
    from memory m
    left join ability a on a.model = m.model and a.first_block = m.first_block and a.last_block = m.last_block
        and a.sample_rule is not distinct from m.sample_rule and a.sample_window is not distinct from m.sample_window
)
select family, model, miniature, params, corpus, role, sample_rule, sample_window, condition, n_layers,
    first_block, last_block, (first_block + last_block + 1) / 2 / n_layers as depth,
    n, documents, exact_match, exact_match_low, exact_match_high,
    token_accuracy, token_accuracy_low, token_accuracy_high,
    entropy, entropy_change, entropy_change_low, entropy_change_high,
    coalesce(held_out_n, 0) as held_out_n, coalesce(held_out_documents, 0) as held_out_documents,
    held_out_accuracy, held_out_base, held_out_change, held_out_change_low, held_out_change_high,
    coalesce(tasks, 0) as tasks, task_score, task_base
from labelled(beside)
left join tasks using (model, first_block, last_block)
join (select model, n_layers from models) using (model)
order by family, params, model, corpus, sample_rule, sample_window, first_block, last_block
