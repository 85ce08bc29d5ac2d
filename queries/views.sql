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
