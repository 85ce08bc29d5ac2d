-- What of `matches` is added up once and kept beside the lake (sums.py): texts that are alike are counted, so that a
-- rate and its interval are read off some thousand rows. The macros over documents take the count as their weight.

-- One row is one number of sequences that texts of a domain have under a model, and how many of them are memorized.
-- n: sequences of a text that were measured, m: of these memorized, documents: texts of which that is so.
create or replace view match_sums_all as
    select model, corpus, domain, sample_rule, sample_window, condition, n, m, count(*) as documents
    from (
        select model, corpus, domain, sample_rule, sample_window, condition, text, count(*) as n,
            count(*) filter (memorized) as m
        from with_text(matches_all)
        group by all
    )
    group by all;

-- One row is one continuation position, of texts that are alike there, over all domains. decoding: 'greedy' or
-- 'forced'; sequences: of a text that reach the position, n: of these decoded so, m: of the n those that match,
-- documents: texts of which that is so. Match vectors are read a byte, eight positions, at a time; `counted` has for
-- each byte its bits, the highest first, four to a number in lanes of 31 bits, so that one sum over a text's sequences
-- counts four positions. Most texts have one sequence: all of these that have the same bytes are alike.
create or replace view position_sums_all as
    with lines as materialized (
        from lines_of(matches_all)
    ), numbered as (
        from on_lines(matches_all, lines)
    ), known as (           -- alone: no other sequence of the text is there that the same model could have had
        select sequence_id, text, tokenizer, alone
        from with_text(sequences)
        join (select text, tokenizer, count(*) = 1 as alone from with_text(sequences) group by all)
            using (text, tokenizer)
    ), bytes as materialized (
        select line, alone, text, byte, least(8, n_tokens - 8 * byte)::int as bits,
            greedy[byte + 1:byte + 1]::bit::utinyint as greedy, forced[byte + 1:byte + 1]::bit::utinyint as forced
        from (
            select line, coalesce(alone, false) as alone, coalesce(text, sequence_id) as text, n_tokens,
                unnest(range((n_tokens + 7) // 8))::int as byte, "match" as greedy, forced_match as forced
            from numbered
            left join known using (sequence_id)
        )
    ), counted as (
        select byte::utinyint as byte,
            list_sum([((byte >> 7 - lane) & 1)::hugeint << 31 * lane for lane in range(4)])::hugeint as first,
            list_sum([((byte >> 3 - lane) & 1)::hugeint << 31 * lane for lane in range(4)])::hugeint as last
        from range(256) all_bytes(byte)
    ), several as (
        select line, bytes.byte, bits, count(*) as sequences, count(greedy) as greedy_n, count(forced) as forced_n,
            coalesce(sum(g.first), 0) as greedy_first, coalesce(sum(g.last), 0) as greedy_last,
            coalesce(sum(f.first), 0) as forced_first, coalesce(sum(f.last), 0) as forced_last
        from (from bytes where not alone) bytes
        left join counted g on g.byte = greedy
        left join counted f on f.byte = forced
        group by line, text, bytes.byte, bits
    ), alike as (
        select line, 'greedy' as decoding, byte, bits, sequences, greedy_n as n, greedy_first as first,
            greedy_last as last, count(*) as documents
        from several
        group by all
        union all
        select line, 'forced', byte, bits, sequences, forced_n, forced_first, forced_last, count(*)
        from several
        group by all
        union all
        select line, decoding, single.byte, bits, 1, if(value is null, 0, 1), coalesce(first, 0), coalesce(last, 0),
            documents
        from (
            select line, byte, bits, unnest(['greedy', 'forced']) as decoding, unnest([greedy, forced]) as value,
                documents
            from (select line, byte, bits, greedy, forced, count(*) as documents from bytes where alone group by all)
        ) single
        left join counted on counted.byte = value
    ), places as (
        select line, decoding, sequences, n, first, last, documents, byte, unnest(range(bits)) as place
        from alike
    )
    select model, corpus, sample_rule, sample_window, condition, decoding, position, sequences, n, m, documents
    from (
        select line, decoding, (8 * byte + place)::int as position, sequences, n, sum(documents)::bigint as documents,
            ((if(place < 4, first, last) >> (31 * (place % 4))::int) & (2 ** 31 - 1)::hugeint)::bigint as m
        from places
        group by all
    )
    join lines using (line);

-- The same of what `matches` shows: each model's base condition.
create or replace view match_sums as
    from match_sums_all
    semi join (select model, base_condition as condition from models) base using (model, condition);
create or replace view position_sums as
    from position_sums_all
    semi join (select model, base_condition as condition from models) base using (model, condition);

-- guess_means_above(measured, above): one row is one model on one domain and sample, columns as in guessability, which
-- has above as `rouge_l`. measured: a table or view of that name that says which of these there are, `matches` or what
-- has the same in fewer rows.
create or replace macro guess_means_above(measured, above) as table
    with lines as materialized (      -- grouping by a number instead of names is three times as fast
        select *, row_number() over ()::int as line
        from (
            select distinct model, corpus, domain, sample_rule, sample_window, condition from query_table(measured)
        )
    ), of_sequence as (
        select sequence_id, text, huffman_length, rouge_l, repeating, incrementing, templated,
            templated or coalesce(rouge_l >= above, false) as guessable
        from sequence_texts
        left join guessability using (sequence_id, corpus, domain)
    ), judged as (
        select line, coalesce(text, sequence_id) as text, memorized, huffman_length, rouge_l, repeating, incrementing,
            templated, guessable
        from (
            select line, sequence_id, memorized
            from matches m
            join lines l on l.model = m.model and l.corpus = m.corpus and l.domain = m.domain
                and l.condition = m.condition and l.sample_rule is not distinct from m.sample_rule
                and l.sample_window is not distinct from m.sample_window
        )
        left join of_sequence using (sequence_id)
    ), documents as (
        select line, text, count(guessable) as n, count(*) - n as not_judged,
            count(*) filter (memorized and guessable is not null) as m,
            count(*) filter (guessable) as n_guessable, count(*) filter (guessable and memorized) as m_guessable,
            n - n_guessable as n_rest, m - m_guessable as m_rest,
            count(*) filter (repeating) as n_repeating, count(*) filter (repeating and memorized) as m_repeating,
            count(*) filter (incrementing) as n_incrementing,
            count(*) filter (incrementing and memorized) as m_incrementing,
            count(*) filter (templated) as n_templated, count(*) filter (templated and memorized) as m_templated,
            n - m as u, coalesce(sum(huffman_length) filter (memorized), 0) as m_huffman,
            coalesce(sum(huffman_length) filter (not memorized), 0) as u_huffman,
            count(rouge_l) filter (memorized) as m_words, coalesce(sum(rouge_l) filter (memorized), 0) as m_rouge,
            count(rouge_l) filter (not memorized) as u_words,
            coalesce(sum(rouge_l) filter (not memorized), 0) as u_rouge
        from judged
        group by line, text
    ), rates as (
        select line,
            sum(n)::bigint as n, sum(not_judged)::bigint as not_judged, count(*) filter (n > 0) as documents,
            sum(m)::bigint as memorized, sum(m) / nullif(sum(n), 0) as rate,
            cluster_low(m, n) as low, cluster_high(m, n) as high,
            sum(n_guessable)::bigint as guessable, sum(m_guessable)::bigint as guessable_memorized,
            sum(m_guessable) / nullif(sum(n_guessable), 0) as guessable_rate,
            sum(m_rest) / nullif(sum(n_rest), 0) as rest_rate,
            cluster_low(m_rest, n_rest) as rest_low, cluster_high(m_rest, n_rest) as rest_high,
            sum(m_guessable) / nullif(sum(m), 0) as share,
            cluster_low(m_guessable, m) as share_low, cluster_high(m_guessable, m) as share_high,
            sum(n_repeating)::bigint as repeating, sum(m_repeating) / nullif(sum(n_repeating), 0) as repeating_rate,
            sum(n_incrementing)::bigint as incrementing,
            sum(m_incrementing) / nullif(sum(n_incrementing), 0) as incrementing_rate,
            sum(n_templated)::bigint as templated, sum(m_templated) / nullif(sum(n_templated), 0) as templated_rate,
            sum(m_huffman) / nullif(sum(m), 0) as huffman_memorized,
            huffman_memorized - cluster_margin(m_huffman, m) as huffman_memorized_low,
            huffman_memorized + cluster_margin(m_huffman, m) as huffman_memorized_high,
            sum(u_huffman) / nullif(sum(u), 0) as huffman_unmemorized,
            huffman_unmemorized - cluster_margin(u_huffman, u) as huffman_unmemorized_low,
            huffman_unmemorized + cluster_margin(u_huffman, u) as huffman_unmemorized_high,
            sum(m_rouge) / nullif(sum(m_words), 0) as rouge_memorized,
            rouge_memorized - cluster_margin(m_rouge, m_words) as rouge_memorized_low,
            rouge_memorized + cluster_margin(m_rouge, m_words) as rouge_memorized_high,
            sum(u_rouge) / nullif(sum(u_words), 0) as rouge_unmemorized,
            rouge_unmemorized - cluster_margin(u_rouge, u_words) as rouge_unmemorized_low,
            rouge_unmemorized + cluster_margin(u_rouge, u_words) as rouge_unmemorized_high
        from documents
        group by line
    )
    select model, corpus, domain, sample_rule, sample_window, condition, above::double as rouge_l,
        rates.* exclude (line)
    from rates
    join lines using (line);

-- These at the ROUGE-L that guessability has unless it is given another: what is kept.
create or replace view guess_means as
    from guess_means_above(matches, kept_at().rouge_l);
create or replace macro guess_means_at(given) as table
    from guess_means
    semi join query_table(given) using (rouge_l)
    union all
    select g.*
    from guess_means_above(match_sums, (select rouge_l from query_table(given))) g, query_table(given) p
    where p.rouge_l <> kept_at().rouge_l;

-- One row is one model on one domain and sample under one of two weights, by which domains are put together. rate, low,
-- high: as in `memorization_rate`; weighted_by: 'sample' (weight: the sequences sampled) or 'bytes' (the bytes of the
-- corpus that ingest saw, kept or not; NULL where the domain is not in `domains`).
create or replace view weighted_rates as
    select model, corpus, domain, sample_rule, sample_window, condition, "class", n_bytes, weighted_by,
        if(weighted_by = 'bytes', n_bytes, n) as weight, n, documents, memorized, memorized / n as rate, low, high
    from (
        select model, corpus, domain, sample_rule, sample_window, condition, sum(documents * n)::bigint as n,
            sum(documents)::bigint as documents, sum(documents * m)::bigint as memorized,
            cluster_low(m, n, w := documents) as low, cluster_high(m, n, w := documents) as high,
            unnest(['sample', 'bytes']) as weighted_by
        from match_sums
        group by all
    )
    left join domains using (corpus, domain);
