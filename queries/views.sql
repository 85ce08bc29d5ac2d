-- What SQL sees beside one view for each stored table. Run after those: `matches` and `domains` replace two of them.

-- One row is one sequence under one model, under the model's base condition (no noise, its default number format), so
-- that a rate is right however many other conditions the lake holds.
create or replace view matches as
    select * from stored.matches
    where (model, condition) in (select (model, base_condition) from stored.models);

-- One row is one sequence under one model and one condition, of all conditions.
create or replace view matches_all as
    select * from stored.matches;

-- One row is one domain of a corpus; `class` is 'structural' or 'free_text', counts are over all that was read.
create or replace view domains as
    select corpus, domain, any_value("class") as "class", sum(n_documents)::bigint as n_documents,
        sum(n_bytes)::bigint as n_bytes, sum(kept_documents)::bigint as kept_documents
    from stored.domains
    group by corpus, domain;

-- One row is one continuation position of one row of `matches`. position: from 0; matched: the greedy generation has
-- the target token there, NULL where decoding was skipped; forced_matched: the arg-max does, given the true tokens
-- before; generated: the greedy token; logprob: natural log-probability of the target, given the true tokens before.
create or replace view match_positions as
    select model, corpus, domain, condition, sequence_id, anchor_id, n_tokens, unnest(range(n_tokens)) as position,
        get_bit("match"::bit, position::int) = 1 as matched,
        get_bit(forced_match::bit, position::int) = 1 as forced_matched,
        generated[position + 1] as generated,
        logprobs[position + 1] as logprob
    from matches;

-- One row is one token of one sequence. position: from 0 at the first token of the continuation, as in
-- `match_positions`, negative in the prefix; byte_end: byte of the document after the token.
create or replace view sequence_tokens as
    select sequence_id, anchor_id, document_id, corpus, domain, tokenizer,
        unnest(range(-prefix_tokens, n_tokens)) as position,
        tokens[prefix_tokens + position + 1] as token,
        byte_ends[prefix_tokens + position + 1] as byte_end
    from sequences
    where len(tokens) > 0;

-- One row is one model and the number of parameters by which it may be compared within its line. A line is the models
-- of one family that were asked for at the same revision, miniatures apart. `size_kind` is the same for the whole line:
-- 'nominal' (as the name says) unless 'counted' (in the checkpoint) is known for more of its models. params is NULL for
-- a model that lacks it.
create or replace view model_sizes as
    select model, family, miniature, revision,
        if(by_name, 'nominal', 'counted') as size_kind,
        if(by_name, nominal_params, n_params) as params
    from (
        select model, family, miniature, nominal_params, n_params,
            nullif(split_part(model, '@', 2), '') as revision,
            count(nominal_params) over line >= count(n_params) over line as by_name
        from models
        window line as (partition by family, miniature, nullif(split_part(model, '@', 2), ''))
    );

-- What was measured inside a model, as `matches`: under its base condition only.
create or replace view prompt_compression as
    select * from stored.prompt_compression
    where (model, condition) in (select (model, base_condition) from stored.models);
create or replace view layer_tokens as
    select * from stored.layer_tokens
    where (model, condition) in (select (model, base_condition) from stored.models);
create or replace view head_deltas as
    select * from stored.head_deltas
    where (model, condition) in (select (model, base_condition) from stored.models);
create or replace view head_effects as
    select * from stored.head_effects
    where (model, condition) in (select (model, base_condition) from stored.models);
create or replace view head_screens as
    select * from stored.head_screens
    where (model, condition) in (select (model, base_condition) from stored.models);
create or replace view block_deltas as
    select * from stored.block_deltas
    where (model, condition) in (select (model, base_condition) from stored.models);
create or replace view benchmark_scores as
    select * from stored.benchmark_scores
    where (model, condition) in (select (model, base_condition) from stored.models);

-- One row is one model and one condition that differs from its base condition in noise alone, or the base itself
-- (noise 0, and no seed, layer or scope).
create or replace view noise_conditions as
    select model, c.condition, c.noise, c.noise_seed, c.noise_layer, c.noise_scope
    from stored.models m
    join stored.conditions b on b.condition = m.base_condition
    join stored.conditions c
        on c.dtype is not distinct from b.dtype and c.attention is not distinct from b.attention and c.bos = b.bos
        and (c.noise > 0 or c.condition = b.condition);

-- One row is one layer at one continuation position of one row of `layer_tokens`. layer: 0 after the embedding, l after
-- block l; depth: layer / number of blocks.
create or replace view layer_positions as
    select model, corpus, domain, condition, sequence_id, position, target, first_layer,
        unnest(range(len(top1))) as layer, layer / (len(top1) - 1) as depth,
        top1[layer + 1] as top1, target_probability[layer + 1] as target_probability,
        target_rank[layer + 1] as target_rank, entropy[layer + 1] as entropy, kl_to_final[layer + 1] as kl_to_final
    from layer_tokens;

-- One row is one layer of one row of `layer_similarity`.
create or replace view similarity_layers as
    select model, corpus, domain, condition, sequence_id, part,
        unnest(range(len(cosine))) as layer, layer / (len(cosine) - 1) as depth,
        cosine[layer + 1] as cosine, relative_l2[layer + 1] as relative_l2
    from stored.layer_similarity;

-- One row is one prompt length of one row of `prompt_compression`. kept: tokens of the prompt that were kept.
create or replace view prompt_lengths as
    select model, corpus, domain, condition, sequence_id, "window", prefix_tokens,
        unnest(range(1, prefix_tokens + 1)) as kept, get_bit(successes::bit, kept::int - 1) = 1 as success
    from prompt_compression;
