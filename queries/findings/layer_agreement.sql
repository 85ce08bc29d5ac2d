-- One row is one layer of one model for one group of sequences: how near its prediction is to the final one.
--
-- Why this number: it asks when the model has made up its mind, whether or not the mind is right: the likeliest token
-- of the layer (logit lens) is the last layer's. A shared scale of logits cannot change it; the divergence and the
-- entropy beside it say how near the whole prediction is, and how certain.
-- Interval: 95 %, document-cluster (see effective_n in macros.sql), of the agreement.
-- Leaves out: differences between positions and between domains, which are pooled; agreement that is lost again in a
-- later layer counts here (decoding_depth counts what stays).
-- Units: shares in [0, 1]; divergence and entropy in nats; depth 0 is after the embedding, 1 after the last block.
-- Source: arXiv 2603.21658, section 4.5; nostalgebraist 2020 (logit lens); Belrose et al. 2023, arXiv 2303.08112.
-- Columns:
--   family      architecture and training line
--   model       the model
--   miniature   trained here, tiny, on a small corpus: not comparable with published models
--   params      its number of parameters (see model_sizes); NULL: not known
--   corpus      corpus of the sequences
--   role        'trained' or 'control'; NULL: not known
--   group       'memorized', 'unmemorized', or 'matched' (see layer_groups)
--   layer       0 after the embedding, l after block l
--   depth       layer / number of blocks
--   n           sequences; a matched one counts as often as it was chosen
--   documents   documents they lie in
--   positions   continuation positions of the n sequences
--   agreement   share of positions whose likeliest token is the final one
--   low         lower end of its interval
--   high        upper end of its interval
--   rank_1      share of positions whose likeliest token is the target
--   kl          mean Kullback-Leibler divergence from the last layer's prediction
--   entropy     mean entropy of the layer's prediction
with positions as (
    select model, corpus, domain, sequence_id, target, top1[-1] as final_top1,
        unnest(range(len(top1))) as layer, layer / (len(top1) - 1) as depth,
        top1[layer + 1] as top1, kl_to_final[layer + 1] as kl, entropy[layer + 1] as entropy
    from layer_tokens
), sequence_layers as (
    select model, corpus, domain, sequence_id, layer, any_value(depth) as depth,
        count(*) as positions, count(*) filter (top1 = final_top1) as agreeing,
        count(*) filter (top1 = target) as first,
        sum(kl::double) as kl, sum(entropy::double) as entropy
    from positions
    group by model, corpus, domain, sequence_id, layer
), documents as (
    select model, corpus, "group", layer, any_value(depth) as depth, coalesce(document_id, sequence_id) as document,
        sum(weight) as n, sum(weight * positions) as positions, sum(weight * agreeing) as agreeing,
        sum(weight * first) as first, sum(weight * kl) as kl, sum(weight * entropy) as entropy
    from sequence_layers
    join layer_groups using (model, corpus, domain, sequence_id)
    left join sequences using (sequence_id, corpus, domain)
    group by model, corpus, "group", layer, document
), means as (
    select model, corpus, "group", layer, any_value(depth) as depth, sum(n)::bigint as n, count(*) as documents,
        sum(positions)::bigint as positions, sum(agreeing) / sum(positions) as agreement,
        cluster_low(agreeing, positions) as low, cluster_high(agreeing, positions) as high,
        sum(first) / sum(positions) as rank_1, sum(kl) / sum(positions) as kl, sum(entropy) / sum(positions) as entropy
    from documents
    group by model, corpus, "group", layer
)
select family, model, miniature, params, corpus, role, "group", layer, means.* exclude (model, corpus, "group", layer)
from means
join model_sizes using (model)
left join model_corpora using (model, corpus)
order by family, params, model, corpus, "group", layer
