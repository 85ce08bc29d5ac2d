-- One row is one layer of one model for one group of sequences: the probability that the target would have, were the
-- prediction made there.
--
-- Why this number: the final norm and the unembedding read the residual stream after each block (logit lens). Whether
-- memorized text rises earlier than other text, or bursts at the end like it, is seen only group beside group;
-- 'matched' (unmemorized, of like completion entropy, see layer_groups) tells memory from mere certainty.
-- Interval: 95 %, document-cluster (effective_n and cluster_margin in macros.sql): neither the positions of a sequence
-- nor the sequences of a document are independent.
-- Leaves out: differences between positions and between domains, which are pooled; that early layers do not speak the
-- unembedding's language, so that a low probability there is not lack of information. The share above a threshold
-- depends on the norm; decoding_depth has a measure that does not.
-- Units: probabilities and shares in [0, 1]; depth 0 is after the embedding, 1 after the last block.
-- Source: arXiv 2603.21658, section 4.5; nostalgebraist 2020 (logit lens).
-- Columns:
--   family           architecture and training line
--   model            the model
--   miniature        trained here, tiny, on a small corpus: not comparable with published models
--   params           its number of parameters (see model_sizes); NULL: not known
--   corpus           corpus of the sequences
--   role             'trained' or 'control'; NULL: not known
--   group            'memorized', 'unmemorized', or 'matched'
--   layer            0 after the embedding, l after block l
--   depth            layer / number of blocks
--   n                sequences; a matched one counts as often as it was chosen
--   documents        documents they lie in
--   positions        continuation positions of the n sequences
--   probability      mean probability of the target
--   low              lower end of its interval; 0 with one document
--   high             upper end of its interval; 1 with one document
--   confident        share of positions whose target is above the threshold
--   confident_low    lower end of its interval
--   confident_high   upper end of its interval
with parameters as (select
    0.5 as threshold    -- probability above which a target counts as decided
), sequence_layers as (
    select model, corpus, domain, sequence_id, layer, any_value(depth) as depth,
        count(*) as positions, sum(target_probability::double) as probability,
        count(*) filter (target_probability > threshold) as confident
    from layer_positions, parameters
    group by model, corpus, domain, sequence_id, layer
), documents as (
    select model, corpus, "group", layer, any_value(depth) as depth, coalesce(document_id, sequence_id) as document,
        sum(weight) as n, sum(weight * positions) as positions,
        sum(weight * probability) as probability, sum(weight * confident) as confident
    from sequence_layers
    join layer_groups using (model, corpus, domain, sequence_id)
    left join sequences using (sequence_id, corpus, domain)
    group by model, corpus, "group", layer, document
), means as (
    select model, corpus, "group", layer, any_value(depth) as depth, sum(n)::bigint as n, count(*) as documents,
        sum(positions)::bigint as positions,
        sum(probability) / sum(positions) as mean, cluster_margin(probability, positions) as margin,
        sum(confident) / sum(positions) as confident,
        cluster_low(confident, positions) as confident_low, cluster_high(confident, positions) as confident_high
    from documents
    group by model, corpus, "group", layer
)
select family, model, miniature, params, corpus, role, "group", layer, depth, n, documents, positions,
    mean as probability,    -- greatest and least pass over NULL: one document leaves 0 to 1
    greatest(0, mean - margin) as low, least(1, mean + margin) as high, confident, confident_low, confident_high
from means
join model_sizes using (model)
left join model_corpora using (model, corpus)
order by family, params, model, corpus, "group", layer
