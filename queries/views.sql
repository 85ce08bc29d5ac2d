-- What SQL sees beside one view for each stored table. Run after those: `domains` replaces one of them. The view of a
-- table that has a model and a condition shows the model's base condition only (see ask.py). What is of sequences says
-- of which sample (sample_rule, sample_window: see samples.sql), so that nothing is added up over several.

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
    select model, corpus, domain, sample_rule, sample_window, condition, sequence_id, anchor_id, n_tokens,
        unnest(range(n_tokens)) as position, get_bit("match"::bit, position::int) = 1 as matched,
        get_bit(forced_match::bit, position::int) = 1 as forced_matched,
        generated[position + 1] as generated,
        logprobs[position + 1] as logprob
    from matches;

-- One row is one token of one sequence. position: from 0 at the first token of the continuation, as in
-- `match_positions`, negative in the prefix; byte_end: byte of the document after the token.
create or replace view sequence_tokens as
    select sequence_id, anchor_id, document_id, corpus, domain, sample_rule, sample_window, tokenizer,
        unnest(range(-prefix_tokens, n_tokens)) as position,
        tokens[prefix_tokens + position + 1] as token,
        byte_ends[prefix_tokens + position + 1] as byte_end
    from sequences
    where len(tokens) > 0;

-- One row is one sequence and the text it was cut from, which documents that are exact copies share: what intervals
-- count as independent. A sequence whose document is not known is a text of its own.
create or replace view sequence_texts as
    select sequence_id, corpus, domain, coalesce(text_hash, document_id, sequence_id) as text
    from stored.sequences
    left join (select document_id, corpus, domain, text_hash from stored.documents)
        using (document_id, corpus, domain);

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

-- One row is one model and one condition that differs from its base condition in noise alone, or the base itself
-- (noise 0, and no seed, layer or scope). None where a condition with noise is looked at in its place.
create or replace view noise_conditions as
    select model, c.condition, c.noise, c.noise_seed, c.noise_layer, c.noise_scope
    from models m
    join stored.conditions b on b.condition = m.base_condition and coalesce(b.noise, 0) = 0
    join stored.conditions c
        on c.dtype is not distinct from b.dtype and c.attention is not distinct from b.attention and c.bos = b.bos
        and c.no_eos is not distinct from b.no_eos and (c.noise > 0 or c.condition = b.condition);

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

-- One row is one prompt length of one row of `prompt_compression`. kept: tokens of the prompt that were kept.
create or replace view prompt_lengths as
    select model, corpus, domain, sample_rule, sample_window, condition, sequence_id, "window", prefix_tokens,
        shortest, unnest(range(1, prefix_tokens + 1)) as kept, get_bit(successes::bit, kept::int - 1) = 1 as success
    from prompt_compression;

-- One row is one sequence under one noise condition of `noise_conditions`, or, at noise 0 and without a seed, under the
-- base condition, once for each layer and scope that it was measured under. clean_memorized, clean_score and
-- completion_entropy are of the base condition.
create or replace view noise_matches as
    with noisy as (
        select model, corpus, domain, sequence_id, noise, noise_seed, noise_layer, noise_scope, memorized, score
        from matches_all
        join noise_conditions using (model, condition)
        where noise > 0
    ), strengths as (
        from noisy
        union all
        select model, corpus, domain, sequence_id, 0.0, null, noise_layer, noise_scope, clean.memorized, clean.score
        from (select distinct model, corpus, domain, sequence_id, noise_layer, noise_scope from noisy)
        join matches clean using (model, corpus, domain, sequence_id)
    )
    select strengths.*, clean.sample_rule, clean.sample_window, clean.condition, clean.memorized as clean_memorized,
        clean.score as clean_score, clean.completion_entropy
    from strengths
    join matches clean using (model, corpus, domain, sequence_id);

-- groups_of(measured), measured being 'noise' or 'layers': the sequences measured under any noise, or in
-- `layer_tokens`, in three groups by what the model does under its base condition. text: see sequence_texts; entropy:
-- completion_entropy; pair: the memorized sequence of the row's pair, NULL: it has no partner; line: a number for
-- model, corpus, sample_rule and sample_window, by which to group faster.
--   'memorized'    produced verbatim
--   'unmemorized'  all others that were measured; those that were chosen to resemble the memorized are among them
--   'matched'      those of the unmemorized that stand in a pair
-- A pair is a memorized sequence and an unmemorized one of its domain and sample, of completion entropies at most 0.2
-- standard deviations apart (the root of the mean of the variances of all memorized and all unmemorized ones scored
-- there; Cochran and Rubin 1973, Sankhya A 35:417); none is in two pairs. By entropy, of equals by id, memorized
-- sequences open a bracket and others close one: on a level of brackets, however deep, the two take turns. Neighbours
-- on a level that are near enough make a run, of which the first and the second are a pair, the third and the fourth,
-- and so on; in a run of odd length the first is left out instead of the last where the pairs are nearer so. Among what
-- is left no two could be a pair.
create or replace macro groups_of(measured) as table
    with sequence as (
        select distinct model, corpus, domain, sequence_id
        from stored.matches
        semi join (from noise_conditions where noise > 0) using (model, condition)
        where measured = 'noise'
        union all
        select distinct model, corpus, domain, sequence_id
        from layer_tokens
        where measured = 'layers'
    ), scored as materialized (
        select model, corpus, domain, sample_rule, sample_window, condition, sequence_id, memorized,
            completion_entropy as entropy,
            dense_rank() over (order by model, corpus, sample_rule, sample_window)::int as line
        from matches
        semi join sequence using (model, corpus, domain)
    ), calipers as (
        select line, domain, 0.2 * sqrt(coalesce(avg(variance), 0)) as caliper
        from (select line, domain, memorized, var_samp(entropy) as variance from scored group by all)
        group by line, domain
    ), base as (
        select scored.*, coalesce(text, sequence_id) as text
        from scored
        semi join sequence using (model, corpus, domain, sequence_id)
        left join sequence_texts using (sequence_id, corpus, domain)
    ), levels as (
        select *, sum(if(memorized, 1, -1)) over (partition by line, domain order by entropy, sequence_id)
            - memorized::int as level
        from base
        where entropy is not null
    ), steps as (
        select *, entropy - lag(entropy) over so_far as step
        from levels
        window so_far as (partition by line, domain, level order by entropy, sequence_id)
    ), runs as (
        select *, count(*) filter (step > caliper) over so_far as run
        from steps
        join calipers using (line, domain)
        window so_far as (partition by line, domain, level order by entropy, sequence_id)
    ), places as (
        select *, row_number() over (partition by line, domain, level, run order by entropy, sequence_id) as place
        from runs
    ), turns as (
        select *, if(count(*) over whole % 2 = 1
            and sum(step) filter (place > 1 and place % 2 = 1) over whole < sum(step) filter (place % 2 = 0) over whole,
            place, place + 1) // 2 as turn
        from places
        window whole as (partition by line, domain, level, run)
    ), pairs as (
        select line, domain, unnest(list(sequence_id)) as sequence_id,
            max(sequence_id) filter (memorized) as pair
        from turns
        group by line, domain, level, run, turn
        having count(*) = 2
    )
    select base.* exclude (memorized), if(memorized, 'memorized', 'unmemorized') as "group",
        if(memorized, pair, null) as pair
    from base
    left join pairs using (line, domain, sequence_id)
    union all
    select base.* exclude (memorized), 'matched', pair
    from base
    join pairs using (line, domain, sequence_id)
    where not memorized;

-- One row is one sequence measured under noise and one of its groups (see groups_of): a matched one has two rows.
create or replace view noise_groups as
    from groups_of('noise');

-- One row is one sequence of `layer_tokens` and one of its groups, as in `noise_groups`.
create or replace view layer_groups as
    from groups_of('layers');

-- One row is one unit of work of head_ablation on more than what the model memorized (--among contrast or all).
create or replace view mixed_cells as
    select cell
    from stored.cells
    where experiment = 'head_ablation' and outcome = 'done' and (settings->>'$.among') <> 'memorized';

-- One row is one row of `head_effects`, of a mixed cell one for the sequences that the model memorized and one for the
-- others (known: which), rolled up anew. Screening's estimate is of all sequences of a cell: NULL where it has both.
create or replace view head_parts as
    with parts as materialized (
        select d.cell, m.memorized as known, layer, head, count(delta_logprob) as n,
            avg(delta_logprob::double) as mean, var_samp(delta_logprob::double) as variance,
            count(*) filter (m.memorized and not memorized_after) as n_lost
        from (from head_deltas semi join mixed_cells using (cell)) d
        join matches m using (model, corpus, domain, condition, sequence_id)
        group by all
    ), held as (
        select cell, known, count(*) over (partition by cell) as kinds from (select distinct cell, known from parts)
    )
    select *, true as known
    from head_effects anti join mixed_cells using (cell)
    union all
    select e.* replace (
            coalesce(p.n, 0) as n, p.mean as mean_delta_logprob, p.variance as var_delta_logprob,
            if(p.n > 0, p.n_lost, null) as n_lost, if(kinds = 1, estimate, null) as estimate),
        held.known
    from head_effects e
    join held using (cell)
    left join parts p on p.cell = e.cell and p.known = held.known and p.layer = e.layer and p.head = e.head;

-- One row is one attention head of one model in one domain and sample, on the sequences that the model memorized or on
-- the others that were measured (known: which): its cells pooled. n: sequences on which it was taken away; n_all: the
-- most on which any of its cells' heads was, in a screened cell those of its leaders; complete: taken away on all of
-- them, as heads are that screening did not drop; mean_drop: nats of the continuation's log-probability that are lost
-- without it (clean - ablated), as measured; estimated_drop: by screening's estimate; heads: of the model; place: 1 for
-- the largest drop, among complete heads only.
create or replace view head_drops as
    select *, count(*) over domain_heads as heads,
        if(complete, row_number() over (domain_heads order by complete desc, mean_drop desc, layer, head), null)
            as place
    from (
        select model, corpus, domain, sample_rule, sample_window, condition, method, known, layer, head,
            sum(n)::bigint as n, sum(of_cell)::bigint as n_all, sum(n) > 0 and sum(n) = sum(of_cell) as complete,
            0 - sum(n * mean_delta_logprob) / nullif(sum(n), 0) as mean_drop,
            pooled_variance(n, mean_delta_logprob, var_delta_logprob) as variance, sum(n_lost)::bigint as n_lost,
            0 - sum(of_cell * estimate) / nullif(sum(of_cell) filter (estimate is not null), 0) as estimated_drop
        from (select *, max(n) over (partition by cell, known) as of_cell from head_parts)
        group by all
    )
    window domain_heads as (
        partition by model, corpus, domain, sample_rule, sample_window, condition, method, known);

-- One row is one sequence on which heads of a model were taken away. text: see sequence_texts; memorized: before;
-- known: as in `head_drops`.
create or replace view head_sequences as
    select model, corpus, domain, a.sample_rule, a.sample_window, a.condition, method, sequence_id,
        coalesce(text, sequence_id) as text, memorized, memorized or not mixed as known
    from (
        select model, corpus, domain, of_cell.sample_rule, of_cell.sample_window, condition, method, sequence_id,
            cell in (from mixed_cells) as mixed
        from head_deltas
        join (      -- of each cell one head that was taken away on all its sequences
            select cell, layer, head, sample_rule, sample_window
            from head_effects
            qualify row_number() over (partition by cell order by n desc, layer, head) = 1
        ) of_cell using (cell, layer, head)
    ) a
    join matches using (model, corpus, domain, sequence_id)
    left join sequence_texts using (corpus, domain, sequence_id);

-- split_halves(share, splits, minimum_documents, minimum_heads, of_known): one row is one model in one domain and
-- sample under one method, `known` as asked for, and how far two halves of the sample rank its heads alike;
-- head_reliability says how that is done. heads: taken away on all n sequences; k: how many heads are important; sd: of
-- the median head's drops; lost: the memorized sequences that a head loses, on average; least, most: of
-- half_reliability, over splits. Where there are too few documents or heads (note) these and the halves' are NULL.
create or replace macro split_halves(share, splits, minimum_documents, minimum_heads, of_known) as table
    with complete as materialized (     -- joining by a number instead of names is many times as fast
        select *, dense_rank() over (
            order by model, corpus, domain, sample_rule, sample_window, condition, method)::int as line
        from head_drops
        where complete and known = of_known
    ), lines as materialized (
        select line, model, corpus, domain, sample_rule, sample_window, condition, method, count(*) as heads,
            greatest(1, round(share * any_value(complete.heads)))::bigint as k, any_value(n) as n,
            median(sqrt(variance)) as sd, avg(n_lost) as lost
        from complete
        group by all
    ), grouped as materialized (
        select line, text, (row_number() over (
            partition by line order by md5_number_lower(text::text), text) % 32)::int as part,
            count(*) as n, count(*) filter (memorized) as memorized, list(sequence_id) as members
        from head_sequences s
        join lines l
            on s.model = l.model and s.corpus = l.corpus and s.domain = l.domain and s.condition = l.condition
            and s.method = l.method
            and s.sample_rule is not distinct from l.sample_rule
            and s.sample_window is not distinct from l.sample_window
        where s.known = of_known
        group by line, text
    ), members as materialized (
        select line, part, unnest(members) as sequence_id from grouped
    ), cells as (
        select distinct line, cell
        from head_effects e
        join lines l
            on e.model = l.model and e.corpus = l.corpus and e.domain = l.domain and e.condition = l.condition
            and e.method = l.method
            and e.sample_rule is not distinct from l.sample_rule
            and e.sample_window is not distinct from l.sample_window
    ), sums as materialized (
        select line, part, layer, head, count(*) as n, sum(delta_logprob::double) as total
        from head_deltas
        join cells using (cell)
        join members using (line, sequence_id)
        where delta_logprob is not null
        group by line, part, layer, head
    ), halves as (      -- one half of each split; the other is the rest
        select line, part, split
        from (select distinct line, part from grouped), (select unnest(range(splits)) as split)
        qualify row_number() over (
            partition by line, split order by md5_number_lower(concat_ws('/', part, split))) % 2 = 0
    ), wholes as (
        select line, layer, head, sum(sums.n) as n, sum(total) as total
        from sums
        join complete using (line, layer, head)
        group by line, layer, head
    ), means as (
        select line, split, layer, head, sum(s.total) / sum(s.n) as a,
            (any_value(w.total) - sum(s.total)) / (any_value(w.n) - sum(s.n)) as b
        from wholes w
        join sums s using (line, layer, head)
        join halves using (line, part)
        group by line, split, layer, head
    ), ranks as (       -- the largest drop, which is the least delta, first
        select line, split, rank() over (partition by line, split order by a, layer, head) as a,
            rank() over (partition by line, split order by b, layer, head) as b
        from means
    ), agreements as (
        select line, split, corr(a, b) as r,
            count(*) filter (a <= k and b <= k) / count(*) filter (a <= k or b <= k) as jaccard
        from ranks
        join lines using (line)
        group by line, split
    ), agreement as (
        select line, avg(r) as r, min(r) as least, max(r) as most, avg(jaccard) as jaccard
        from agreements
        group by line
    ), judged as (
        select line, count(*) as documents, sum(memorized)::bigint as memorized,
            if(documents < minimum_documents or any_value(heads) < minimum_heads, 'too few', null) as note
        from grouped g
        join lines using (line)
        group by line
    )
    select model, corpus, domain, sample_rule, sample_window, condition, method, heads, k, n, documents, memorized, sd,
        lost, note, r as half_reliability, least, most, jaccard as half_jaccard
    from lines
    join judged using (line)
    left join agreement on agreement.line = lines.line and note is null;

-- One row is one layer of one model on one corpus and sample: the mean drop of its heads, averaged over domains with
-- equal weight. A head that screening dropped counts with what was measured of it, or else with its estimate: leaders
-- alone would make every layer look important, so that a domain where a head has neither is left out. incomplete:
-- (head, domain) pairs that were not taken away on all. known: as in `head_drops`.
create or replace view layer_drops as
    select model, corpus, sample_rule, sample_window, condition, method, known, layer, avg(mean_drop) as mean_drop,
        count(*) as domains, sum(incomplete)::bigint as incomplete
    from (
        select model, corpus, domain, sample_rule, sample_window, condition, method, known, layer,
            avg(counted) as mean_drop, count(*) filter (not complete) as incomplete
        from (
            select *, coalesce(mean_drop, estimated_drop) as counted, bool_and(counted is not null) over (
                partition by model, corpus, domain, sample_rule, sample_window, condition, method, known) as whole
            from head_drops
        )
        where whole
        group by all
    )
    group by all;

-- One row is one model under one method and sample: the mean drop of each of its layers in a list from layer 0 on, over
-- the corpora it was trained on, each with equal weight; where there is none, over those of which that is not known.
create or replace view model_profiles as
    select model, sample_rule, sample_window, condition, method, known, list(mean_drop order by layer) as drops
    from (
        select model, sample_rule, sample_window, condition, method, known, layer,
            coalesce(avg(mean_drop) filter (role = 'trained'), avg(mean_drop)) as mean_drop
        from layer_drops
        left join model_corpora using (model, corpus)
        where role is distinct from 'control'
        group by all
    )
    group by all;

-- One row is one model on one domain and sample under one of two weights, by which domains are put together. rate, low,
-- high: as in `memorization_rate`; weighted_by: 'sample' (weight: the sequences sampled) or 'bytes' (the bytes of the
-- corpus that ingest saw, kept or not; NULL where the domain is not in `domains`).
create or replace view weighted_rates as
    select model, corpus, domain, sample_rule, sample_window, condition, "class", n_bytes, weighted_by,
        if(weighted_by = 'bytes', n_bytes, n) as weight, n, documents, memorized, memorized / n as rate, low, high
    from (
        select model, corpus, domain, sample_rule, sample_window, condition, sum(n)::bigint as n,
            count(*) as documents, sum(m)::bigint as memorized,
            cluster_low(m, n) as low, cluster_high(m, n) as high, unnest(['sample', 'bytes']) as weighted_by
        from (
            select model, corpus, domain, sample_rule, sample_window, condition,
                coalesce(text, sequence_id) as text, count(*) as n, count(*) filter (memorized) as m
            from matches
            left join sequence_texts using (sequence_id, corpus, domain)
            group by all
        )
        group by all
    )
    left join domains using (corpus, domain);
