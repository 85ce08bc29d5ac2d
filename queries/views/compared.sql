-- What is said of models beside one another, by each sequence or anchor of a corpus under all of its models. It is
-- added up once for a corpus and kept beside the lake (sums.py), with the parameters that findings have unless they are
-- given others; with those it is counted anew. Their parameters are not materialized, so that DuckDB sees beforehand
-- which of the two there is nothing of. measured, of the macros: a table or view of that name that says which models
-- and samples there are, `matches` or what has the same in fewer rows.

-- byte_sums_over(measured, given_horizons, given_share): one row is one model on one corpus and sample and one of the
-- horizons, columns as in byte_rate, which has given_share as `minimum_share`. compared: it was asked about enough;
-- what comes after `asked` is NULL where not. own: anchors at which it can be judged; alone: those at which all but the
-- models of its tokenizer can; margin: half the width of the interval of bits_per_byte.
create or replace macro byte_sums_over(measured, given_horizons, given_share) as table
    with choices as (
        select given_horizons as horizons, given_share::double as minimum_share
    ), numbered as materialized (
        select *, set_bit(bitstring('0', 1 + count(*) over ()::int), place, 1) as bit
        from (
            select *, dense_rank() over (order by corpus, sample_rule, sample_window)::int as sample,
                row_number() over (partition by corpus, sample_rule, sample_window order by line)::int - 1 as place
            from lines_of(measured)
        )
    ), of_sequence as (     -- which models were asked: a bit for each
        select sample, sequence_id, bit_or(bit) as models
        from on_lines(matches, numbered)
        join (select line, sample, bit from numbered) using (line)
        where matched_bytes is not null
        group by sample, sequence_id
    ), placed as materialized (     -- reach: bytes from the anchor on by which a model can be judged
        select sample, sequence_id, s.tokenizer, anchor_id, prefix_tokens, coalesce(text, sequence_id) as text, models,
            if(byte_cut = anchor, byte_end - byte_cut, 0) as reach
        from of_sequence
        join (
            select sequence_id, tokenizer, anchor_id, prefix_tokens, anchor, byte_cut, byte_end from sequences
        ) s using (sequence_id)
        left join (select sequence_id, text from sequence_texts) using (sequence_id)
        where anchor_id is not null
    ), chosen as (          -- of several windows on one anchor each model's with the longest prompt
        from placed anti join (
            select sample, tokenizer, anchor_id from placed group by all having count(*) > 1
        ) using (sample, tokenizer, anchor_id)
        union all
        select * replace (models & ~coalesce(bit_or(models) over longer, models & ~models) as models)
        from placed semi join (
            select sample, tokenizer, anchor_id from placed group by all having count(*) > 1
        ) using (sample, tokenizer, anchor_id)
        window longer as (
            partition by sample, tokenizer, anchor_id order by prefix_tokens desc, sequence_id
            rows between unbounded preceding and 1 preceding
        )
    ), lines as materialized (
        select *, count(*) filter (compared) over (partition by sample) as models
        from (
            select *,
                asked >= (select minimum_share from choices) * median(asked) over (partition by sample) as compared
            from (
                select sample, place, tokenizer, sum(asked)::bigint as asked
                from (select sample, tokenizer, models, count(*) as asked from chosen group by all)
                join numbered using (sample)
                where get_bit(models, place) = 1
                group by sample, place, tokenizer
            )
            join numbered using (sample, place)
        )
    ), tokenizers as (      -- the bits of those that are compared
        select sample, tokenizer, bit_or(bit) as of_tokenizer from lines where compared group by sample, tokenizer
    ), judged as materialized (
        select chosen.* replace (models & of_tokenizer as models), of_tokenizer
        from chosen
        join tokenizers using (sample, tokenizer)
        where bit_count(models & of_tokenizer) > 0
    ), anchors as materialized (    -- up to where all models can be judged, and all but those of the weakest tokenizer
        select sample, anchor_id, min(reach) as shared, arg_min(tokenizer, reach) as weakest,
            if(count(*) = 1, 9223372036854775807, min(reach, 2)[2]) as others
        from (              -- every anchor with every tokenizer: reach is 0 where one of its models was not asked
            select sample, anchor_id, tokenizer, coalesce(reach, 0) as reach
            from (select distinct sample, anchor_id from judged)
            join tokenizers using (sample)
            left join (
                select sample, anchor_id, tokenizer,
                    if(bit_or(models) = any_value(of_tokenizer), min(reach), 0) as reach
                from judged
                group by sample, anchor_id, tokenizer
            ) using (sample, anchor_id, tokenizer)
        )
        group by sample, anchor_id
    ), places as (
        select row_number() over (order by horizon)::int as step, horizon
        from (select unnest(horizons) as horizon from choices)
    ), sampled as (         -- whatever text they lie in
        select sample, step, count(*) as anchors from anchors, places group by sample, step
    ), own as (
        select line, step, sum(own)::bigint as own
        from (
            select sample, step, tokenizer, models, count(*) filter (reach >= horizon) as own
            from judged, places
            group by all
        ) j
        join lines l using (sample, tokenizer)
        where get_bit(j.models, place) = 1
        group by line, step
    ), alone as (
        select sample, weakest as tokenizer, step, count(*) as alone
        from anchors, places
        where shared < horizon and others >= horizon
        group by sample, weakest, step
    ), reached as materialized (    -- tokens: up to the first that ends at or after each horizon that all models reach
        select sample, sequence_id, text, j.models, list_transform(list_filter(horizons, lambda h: h <= shared),
            lambda h: 1 + len(list_filter(ends, lambda e: e < byte_cut + h))) as tokens, ends, byte_cut
        from (select sample, anchor_id, shared from anchors, choices where shared >= list_min(horizons))
        join judged j using (sample, anchor_id)
        join (
            select sequence_id, byte_cut, byte_ends[prefix_tokens + 1:] as ends from sequences
        ) using (sequence_id), (select list_sort(horizons) as horizons from choices)
    ), reproducible as (
        select line, text, matched_bytes, logprobs::double[] as logprobs, r.tokens,
            list_transform(r.tokens, lambda t: ends[t] - byte_cut) as bytes
        from on_lines(matches, numbered) m
        join (select line, sample, place from lines where compared) using (line)
        join reached r using (sample, sequence_id)
        where matched_bytes is not null and get_bit(r.models, place) = 1
    ), texts as (
        select line, step, text, count(*) as n, count(*) filter (matched_bytes >= horizon) as m,
            coalesce(sum(bits), 0) as bits, coalesce(sum(bytes) filter (bits is not null), 0) as bytes
        from (
            select line, text, matched_bytes, unnest(range(1, len(tokens) + 1))::int as step, unnest(bytes) as bytes,
                0 - list_sum(logprobs[1:tokens[step]]) / ln(2) as bits
            from reproducible
        )
        join places using (step)
        group by line, step, text
    ), sums as (
        select line, step, sum(n)::bigint as n, count(*) as documents, sum(m)::bigint as reproduced,
            cluster_low(m, n) as low, cluster_high(m, n) as high, sum(bits) / nullif(sum(bytes), 0) as bits_per_byte,
            cluster_margin(bits, bytes) as margin
        from texts
        group by line, step
    ), counts as (
        select line, step, anchors, coalesce(own, 0) as own, coalesce(alone, 0) as alone, coalesce(n, 0) as n,
            coalesce(documents, 0) as documents, coalesce(reproduced, 0) as reproduced, low, high, bits_per_byte, margin
        from (from lines where compared)
        join sampled using (sample)
        join places using (step)
        left join own using (line, step)
        left join alone using (sample, tokenizer, step)
        left join sums using (line, step)
    )
    select model, corpus, sample_rule, sample_window, condition, horizons, minimum_share, tokenizer, horizon, models,
        compared, asked, counts.* exclude (line, step)
    from lines
    cross join places
    cross join choices
    left join counts using (line, step);

-- What is kept of these (see kept_at), and what they are at a table of parameters.
create or replace view byte_sums as
    from byte_sums_over(matches, kept_at().horizons, kept_at().minimum_share);
create or replace macro byte_sums_at(given) as table
    from byte_sums
    semi join query_table(given) using (horizons, minimum_share)
    union all
    select b.*
    from byte_sums_over(match_sums, (select horizons from query_table(given)),
        (select minimum_share from query_table(given))) b, query_table(given) p
    where p.horizons <> kept_at().horizons or p.minimum_share <> kept_at().minimum_share;

-- sharing_sums_over(measured, span): one row is one pair of models on one corpus and sample by one `basis`, 'anchor' or
-- 'sequence', columns as in shared_memorization, which has span as `horizon`. pair: the columns that say which it is.
create or replace macro sharing_sums_over(measured, span) as table
    with numbered as (
        from lines_of(measured)
    ), lines as materialized (
        select *, dense_rank() over (order by corpus, sample_rule, sample_window)::int as "group",
            row_number() over (partition by corpus, sample_rule, sample_window order by line)::int - 1 as place
        from numbered
        left join model_corpora using (model, corpus)
    ), met as (
        from met_patterns(lines, span)
    ), patterns as (
        select {'basis': basis, 'of': "group"} as "group", domain as part, text, pattern from met
    ), masks as (
        select bit_or(set_bit(set_bit(none, 4 * place, 1), 4 * place + 1, 1)) as of_judged,
            bit_or(set_bit(set_bit(none, 4 * place + 2, 1), 4 * place + 3, 1)) as of_hit
        from lines, (select bitstring('0', 4 + 4 * max(place)::int) as none from lines)
    ), members as materialized (    -- judged, hit: places of the bits that a pair is compared by, after that of asked
        select "group".of as "group", "group".basis as basis, if(basis = 'anchor', 1, 0) as judged,
            if(basis = 'anchor', 2, 3) as hit, kind, documents, part, pattern
        from alike_texts(patterns)
    ), pairs as (
        select "group", a.line as line_a, b.line as line_b, 4 * a.place as place_a, 4 * b.place as place_b,
            {'corpus': a.corpus, 'model_a': a.model, 'role_a': a.role, 'model_b': b.model, 'role_b': b.role,
                'sample_rule': a.sample_rule, 'sample_window': a.sample_window, 'condition_a': a.condition,
                'condition_b': b.condition} as pair
        from lines a
        join lines b using ("group")
        where a.model < b.model and (a.role = 'control' and b.role = 'control') is not true
    ), patterns_in_all as materialized (        -- whatever texts they are in
        select "group", basis, judged, hit, part, pattern, sum(documents) as w from members group by all
    ), units as (
        select basis, line, sum(w * get_bit(pattern, 4 * place)) as units
        from patterns_in_all
        join lines using ("group")
        group by basis, line
    ), sums as (
        select line_a, line_b, basis, sum(met) as met, sum(n) as n, sum(in_a) as in_a, sum(in_b) as in_b,
            sum(in_both) as in_both, sum(in_a + in_b - in_both) as in_either,
            sum(in_a * in_b / nullif(n, 0)) as expected_in_both
        from (
            select line_a, line_b, basis, part, sum(w) as met, coalesce(sum(w) filter (comparable), 0) as n,
                coalesce(sum(w) filter (comparable and a), 0) as in_a,
                coalesce(sum(w) filter (comparable and b), 0) as in_b,
                coalesce(sum(w) filter (comparable and a and b), 0) as in_both
            from (
                select line_a, line_b, basis, part, w, get_bit(pattern, place_a + hit) = 1 as a,
                    get_bit(pattern, place_b + hit) = 1 as b,
                    get_bit(pattern, place_a + judged) = 1 and get_bit(pattern, place_b + judged) = 1 as comparable
                from patterns_in_all
                join pairs using ("group")
                where get_bit(pattern, place_a) = 1 and get_bit(pattern, place_b) = 1
            )
            group by line_a, line_b, basis, part
        )
        group by line_a, line_b, basis
    ), clusters as (        -- of texts from which either reproduced anything
        select line_a, line_b, basis, cluster_low(in_both, in_either, w := documents) as low,
            cluster_high(in_both, in_either, w := documents) as high
        from (
            select line_a, line_b, basis, kind, any_value(documents) as documents, count(*) as in_either,
                count(*) filter (get_bit(pattern, place_a + hit) = 1 and get_bit(pattern, place_b + hit) = 1) as in_both
            from (from members, masks where bit_count(pattern & of_hit) > 0)
            join pairs using ("group")
            where get_bit(pattern, place_a + judged) = 1 and get_bit(pattern, place_b + judged) = 1
                and (get_bit(pattern, place_a + hit) = 1 or get_bit(pattern, place_b + hit) = 1)
            group by line_a, line_b, basis, kind
        )
        group by line_a, line_b, basis
    ), judgeable as (       -- texts at which both can be compared: what was reproduced does not matter
        select line_a, line_b, basis, sum(documents)::bigint as documents
        from (
            select "group", basis, judged, patterns, sum(documents) as documents
            from (
                select "group", basis, judged, kind, any_value(documents) as documents,
                    list_sort(list(distinct pattern & of_judged)) as patterns
                from members, masks
                group by "group", basis, judged, kind
            )
            group by all
        )
        join pairs using ("group")
        where len(list_filter(patterns, lambda pattern:
            get_bit(pattern, place_a + judged) = 1 and get_bit(pattern, place_b + judged) = 1)) > 0
        group by line_a, line_b, basis
    )
    select span as horizon, basis, pairs.pair, pair.corpus as corpus, pair.sample_rule as sample_rule,
        pair.sample_window as sample_window, n::bigint as n, coalesce(documents, 0) as documents,
        1 - n / (a.units + b.units - met) as left_out, in_both::bigint as in_both,
        (in_a - in_both)::bigint as only_a, (in_b - in_both)::bigint as only_b, (n - in_either)::bigint as in_neither,
        in_both / nullif(in_either, 0) as jaccard, low, high, expected_in_both,
        expected_in_both / nullif(in_a + in_b - expected_in_both, 0) as expected_jaccard
    from sums
    join pairs using (line_a, line_b)
    left join clusters using (line_a, line_b, basis)
    left join judgeable using (line_a, line_b, basis)
    join units a on a.line = line_a and a.basis = sums.basis
    join units b on b.line = line_b and b.basis = sums.basis;

-- What is kept of these (see kept_at), and what they are at a table of parameters.
create or replace view sharing_sums as
    from sharing_sums_over(matches, kept_at().horizon);
create or replace macro sharing_sums_at(given) as table
    from sharing_sums
    semi join query_table(given) using (horizon)
    union all
    select s.*
    from sharing_sums_over(match_sums, (select horizon from query_table(given))) s, query_table(given) p
    where p.horizon <> kept_at().horizon;

-- control_sums_over(measured, span): one row is one model on one domain of one corpus and sample. sequences, anchors: of
-- how many it was asked; tokenizers: of these sequences. controls, of a model that was trained on the corpus: for each
-- control that was asked about the same, and each basis of the two, columns as in control_adjusted_rate, which has span
-- as `horizon`; *_low, *_high: of either rate; correlation: error_correlation of the two.
create or replace macro control_sums_over(measured, span) as table
    with numbered as (
        from lines_of(measured)
    ), placed as materialized (
        select *, dense_rank() over (order by corpus, sample_rule, sample_window)::int as "group",
            row_number() over (partition by corpus, sample_rule, sample_window order by line)::int - 1 as place
        from numbered
    ), met as materialized (
        from met_patterns(placed, span)
    ), patterns as (
        select {'basis': basis, 'of': "group"} as "group", domain as part, text, pattern from met
    ), members as materialized (    -- judged, hit: places of the bits that a pair is compared by, after that of asked
        select "group".of as "group", "group".basis as basis, if(basis = 'anchor', 1, 0) as judged,
            if(basis = 'anchor', 2, 3) as hit, kind, documents, part as domain, pattern
        from alike_texts(patterns)
    ), asked as (       -- how many sequences and anchors of a domain a model was asked about
        select place, "group", domain, coalesce(sum(w) filter (basis = 'sequence'), 0) as sequences,
            coalesce(sum(w) filter (basis = 'anchor'), 0) as anchors
        from (select "group", basis, domain, pattern, sum(documents) as w from members group by all)
        join placed using ("group")
        where get_bit(pattern, 4 * place) = 1
        group by place, "group", domain
    ), tokenizers as (
        select place, "group", domain, list_sort(list(tokenizer)) as tokenizers
        from (
            select "group", domain, tokenizer, bit_or(pattern) as pattern
            from met
            where basis = 'sequence'
            group by all
        )
        join placed using ("group")
        where get_bit(pattern, 4 * place) = 1
        group by place, "group", domain
    ), lines as materialized (
        select placed.*, role
        from placed
        join model_corpora using (model, corpus)
    ), pairs as materialized (
        select "group", a.line, b.model as control, b.condition as control_condition, 4 * a.place as place_a,
            4 * b.place as place_b, row_number() over ()::int as pair
        from lines a
        join lines b using ("group")
        where a.role = 'trained' and b.role = 'control'
    ), paired as (
        select pair, domain, basis, sum(documents * n) as n, sum(documents)::bigint as documents,
            sum(documents * x) / sum(documents * n) as rate, cluster_low(x, n, w := documents) as rate_low,
            cluster_high(x, n, w := documents) as rate_high, sum(documents * y) / sum(documents * n) as control_rate,
            cluster_low(y, n, w := documents) as control_low, cluster_high(y, n, w := documents) as control_high,
            error_correlation(x, y, n, w := documents) as correlation
        from (
            select pair, domain, basis, n, x, y, sum(documents) as documents
            from (
                select pair, domain, basis, kind, any_value(documents) as documents, count(*) as n,
                    sum(get_bit(pattern, place_a + hit)) as x, sum(get_bit(pattern, place_b + hit)) as y
                from members
                join pairs using ("group")
                where get_bit(pattern, place_a) = 1 and get_bit(pattern, place_b) = 1
                    and get_bit(pattern, place_a + judged) = 1 and get_bit(pattern, place_b + judged) = 1
                group by pair, domain, basis, kind
            )
            group by all
        )
        group by pair, domain, basis
    ), controls as (
        select line, domain, list({'control': control, 'control_condition': control_condition, 'basis': basis, 'n': n,
            'documents': documents, 'rate': rate, 'rate_low': rate_low, 'rate_high': rate_high,
            'control_rate': control_rate, 'control_low': control_low, 'control_high': control_high,
            'correlation': correlation}) as controls
        from paired
        join pairs using (pair)
        group by line, domain
    )
    select span as horizon, model, corpus, domain, role, sample_rule, sample_window, condition, sequences, anchors,
        tokenizers, controls
    from lines
    join asked using (place, "group")
    join tokenizers using (place, "group", domain)
    left join controls using (line, domain);

-- What is kept of these (see kept_at), and what they are at a table of parameters.
create or replace view control_sums as
    from control_sums_over(matches, kept_at().horizon);
create or replace macro control_sums_at(given) as table
    from control_sums
    semi join query_table(given) using (horizon)
    union all
    select s.*
    from control_sums_over(match_sums, (select horizon from query_table(given))) s, query_table(given) p
    where p.horizon <> kept_at().horizon;
