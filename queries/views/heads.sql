-- Attention heads: what is lost without each.

-- One row is one unit of work of head_ablation on more than what the model memorized (--among contrast or all).
create or replace view mixed_cells as
    select cell
    from stored.cells
    where experiment = 'head_ablation' and outcome = 'done' and (settings->>'$.among') <> 'memorized';

-- One row is one sequence on which heads of a model were taken away, in one unit of work. memorized: before; known: as
-- in `head_drops`. Of each cell one head is looked at that was taken away on all its sequences: nearly always the
-- first, and files are sorted by layer and head, so that hardly anything of the deltas is read.
create or replace view head_members as
    select model, corpus, domain, a.sample_rule, a.sample_window, a.condition, method, a.cell, sequence_id, memorized,
        memorized or not mixed as known
    from (
        select model, corpus, domain, of_cell.sample_rule, of_cell.sample_window, condition, method, cell, sequence_id,
            cell in (from mixed_cells) as mixed
        from stored.head_deltas
        join (
            select cell, layer, head, sample_rule, sample_window
            from head_effects
            qualify row_number() over (partition by cell order by n desc, layer, head) = 1
        ) of_cell using (cell, layer, head)
    ) a
    join matches using (model, corpus, domain, sequence_id);

-- One row is one row of `head_effects`, of a mixed cell one for the sequences that the model memorized and one for the
-- others (known: which), rolled up anew. Screening's estimate is of all sequences of a cell: NULL where it has both.
create or replace view head_parts as
    with mixed as materialized (        -- grouping by a number instead of names is many times as fast
        select *, dense_rank() over (order by cell)::int as number
        from (select cell, sequence_id, memorized from head_members semi join mixed_cells using (cell))
    ), parts as (
        select number, m.memorized as known, layer, head, count(delta_logprob) as n,
            avg(delta_logprob::double) as mean, var_samp(delta_logprob::double) as variance,
            count(*) filter (m.memorized and not memorized_after) as n_lost
        from (from stored.head_deltas semi join mixed_cells using (cell))
        join mixed m using (cell, sequence_id)
        group by number, known, layer, head
    ), held as (
        select cell, number, memorized as known, count(*) over (partition by number) as kinds
        from (select distinct cell, number, memorized from mixed)
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
    left join parts p on p.number = held.number and p.known = held.known and p.layer = e.layer and p.head = e.head;

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

-- One row is one row of `head_members` and the text of its sequence: see sequence_texts.
create or replace view head_sequences as
    select model, corpus, domain, sample_rule, sample_window, condition, method, cell, sequence_id,
        coalesce(text, sequence_id) as text, memorized, known
    from head_members
    left join sequence_texts using (corpus, domain, sequence_id);

-- One row is one model in one domain and sample under one method, on what it memorized or on the others (known: which):
-- its texts dealt to 32 parts. parts: documents and n sequences of each, of these memorized; heads: of each the totals of
-- delta_logprob by part, so that halves of the sample are added up from 32 numbers a head. Kept beside the lake (sums.py).
create or replace view part_sums as
    with sequences as materialized (        -- joining by a number instead of names is many times as fast
        select *, dense_rank() over (
            order by model, corpus, domain, sample_rule, sample_window, condition, method, known)::int as line
        from head_sequences
    ), texts as materialized (
        select line, text, (row_number() over (
            partition by line order by md5_number_lower(text::text), text) % 32)::int as part,
            count(*) as n, count(*) filter (memorized) as memorized
        from sequences
        group by line, text
    ), parts as materialized (
        select line, part, count(*) as documents, sum(n)::bigint as n, sum(memorized)::bigint as memorized
        from texts
        group by line, part
    ), sums as materialized (
        select line, part, layer, head, sum(delta_logprob::double) as total
        from stored.head_deltas
        join (select cell, sequence_id, line, part from sequences join texts using (line, text))
            using (cell, sequence_id)
        where delta_logprob is not null
        group by line, part, layer, head
    ), totals as (
        select line, layer, head, list(coalesce(total, 0) order by part) as totals
        from (select distinct line, layer, head from sums)
        join parts using (line)
        left join sums using (line, part, layer, head)
        group by line, layer, head
    )
    select model, corpus, domain, sample_rule, sample_window, condition, method, known, parts, heads
    from (
        select distinct line, model, corpus, domain, sample_rule, sample_window, condition, method, known
        from sequences
    )
    join (
        select line, list({part: part, documents: documents, n: n, memorized: memorized} order by part) as parts
        from parts
        group by line
    ) using (line)
    left join (
        select line, list({layer: layer, head: head, totals: totals} order by layer, head) as heads
        from totals
        group by line
    ) using (line);

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
            important_heads(any_value(complete.heads), share)::bigint as k, any_value(n) as n,
            median(sqrt(variance)) as sd, avg(n_lost) as lost
        from complete
        group by all
    ), sums as materialized (
        select line, parts, p.heads
        from part_sums p
        join lines l
            on p.model = l.model and p.corpus = l.corpus and p.domain = l.domain and p.condition = l.condition
            and p.method = l.method
            and p.sample_rule is not distinct from l.sample_rule
            and p.sample_window is not distinct from l.sample_window
        where p.known = of_known
    ), parts as (
        select line, unnest(parts, recursive := true) from sums
    ), halves as (      -- one half of each split; the other is the rest
        select line, split, list(taken::double order by part) as taken, sum(n) filter (taken) as n
        from (
            select line, part, n, split, row_number() over (
                partition by line, split order by md5_number_lower(concat_ws('/', part, split))) % 2 = 0 as taken
            from parts, (select unnest(range(splits))::int as split)
        )
        group by line, split
        having bool_or(taken)       -- of one part there are no halves
    ), heads as (       -- numbered in the order in which equals are ranked
        select line, layer, head, n, row_number() over (order by line, layer, head)::int as number from complete
    ), means as (       -- each of the complete heads was taken away on all sequences
        select line, split, number, list_dot_product(totals, taken) / s.n as a,
            list_dot_product(totals, [1 - x for x in taken]) / (h.n - s.n) as b
        from (select line, unnest(heads, recursive := true) from sums)
        join heads h using (line, layer, head)
        join halves s using (line)
    ), ranks as (       -- the largest drop, which is the least delta, first
        select line, split, row_number() over (partition by line, split order by a, number) as a,
            row_number() over (partition by line, split order by b, number) as b
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
        select line, sum(documents)::bigint as documents, sum(memorized)::bigint as memorized,
            if(sum(p.documents) < minimum_documents or any_value(l.heads) < minimum_heads, 'too few', null) as note
        from parts p
        join lines l using (line)
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
