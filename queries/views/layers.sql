-- Layer by layer: the lists of `layer_tokens` and `layer_similarity`, one row for each of their values.

-- One row is one layer at one continuation position of one row of `layer_tokens`. layer: 0 after the embedding, l after
-- block l; depth: layer / number of blocks.
create or replace view layer_positions as
    select model, corpus, domain, sample_rule, sample_window, condition, sequence_id, position, target, first_layer,
        unnest(range(len(top1))) as layer, layer / (len(top1) - 1) as depth,
        top1[layer + 1] as top1, target_probability[layer + 1] as target_probability,
        target_rank[layer + 1] as target_rank, entropy[layer + 1] as entropy, kl_to_final[layer + 1] as kl_to_final
    from layer_tokens;

-- One row is one layer of one row of `layer_similarity`.
create or replace view similarity_layers as
    select model, corpus, domain, sample_rule, sample_window, condition, sequence_id, part,
        unnest(range(len(cosine))) as layer, layer / (len(cosine) - 1) as depth,
        cosine[layer + 1] as cosine, relative_l2[layer + 1] as relative_l2
    from layer_similarity;
