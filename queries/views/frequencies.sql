-- How often the texts of sequences occur in a counted corpus, put together by what models made of the sequences: computed
-- once for a model and a corpus and kept beside the lake (sums.py).

-- frequency_means_of(given): one row is one row of frequency_by_bucket, columns as there; given: a table, view or CTE that
-- has its parameters. margin: half the width of the interval. What a list is as a whole is found before models come in,
-- which share sequences; a text with one list in a group needs no adding up, and most have one.
create or replace macro frequency_means_of(given) as table
    with asked as materialized (
        from lines_of(matches)
        semi join ngram_counts using (corpus)
    ), grouped as (     -- part: a number for line and group
        select part, sequence_id, n_tokens,
            row_number() over (partition by part order by sequence_id) <= listed as is_listed
        from (
            select sequence_id, n_tokens, listed, 3 * line + case
                    when memorized then 0
                    when score = 0 then 1
                    when score between half_from and half_to then 2
                end as part
            from on_lines(matches, asked), query_table(given)
        )
        where part is not null
    ), ways as materialized (
        select *, row_number() over ()::int as way
        from (
            select distinct counted_corpus, counted_tokenizer, complete, span, tokenizer = counted_tokenizer as own
            from ngram_counts
            semi join asked using (corpus)
        )
    ), counted as materialized (
        select sequence_id, way, span in ('unigrams', 'bigrams') as is_list, if(is_list and own, counts, null) as counts,
            list_median(counts) as count, list_avg([(c = 0)::int for c in counts]) as unseen,
            list_avg([log10(1 + c) for c in counts]) as log
        from (from ngram_counts semi join asked using (corpus))
        join ways using (counted_corpus, counted_tokenizer, complete, span)
        where own = (tokenizer = counted_tokenizer)
    ), members as (
        from grouped
        semi join counted using (sequence_id)
    ), placed as materialized (
        from with_text(members)
    ), wholes as materialized (
        select part, way, text, null::bigint as position, count, unseen, log
        from placed
        join counted using (sequence_id)
        where is_listed or not is_list
    ), lists as (
        select part, way, text, n_tokens, counts, count(*) over (partition by part, way, text) = 1 as alone
        from placed
        join (from counted where counts is not null) using (sequence_id)
        where is_listed
    ), entries as materialized (
        select *, log10(1 + count) as log
        from (
            select part, way, text, alone, unnest(range(n_tokens - len(counts), n_tokens)) as position,
                unnest(counts) as count
            from lists
        )
    ), shares as (
        select part, way, position, count(*) as n, avg(unseen) as unseen, median(count) as median
        from wholes
        group by part, way, position
        union all
        select part, way, position, count(*), avg((count = 0)::int), median(count)
        from entries
        group by part, way, position
    ), documents as (
        select part, way, position, count(*) as n, sum(log) as x
        from wholes
        group by part, way, position, text
        union all
        select part, way, position, count(*), sum(log)
        from entries
        where not alone
        group by part, way, position, text
        union all
        select part, way, position, 1, log
        from entries
        where alone
    ), means as (
        select part, way, position as place, count(*) as documents, sum(x) / sum(n) as mean_log10,
            cluster_margin(x, n) as margin
        from documents
        group by part, way, position
    )
    select model, corpus, sample_rule, sample_window, condition, half_from::double as half_from,
        half_to::double as half_to, listed::bigint as listed, counted_corpus, counted_tokenizer, complete, own, span,
        position, ['memorized', 'unmemorized', 'half'][1 + s.part % 3] as "group", n, documents, unseen, median,
        mean_log10, margin
    from shares s
    join means m on m.part = s.part and m.way = s.way and position is not distinct from place
    join ways w on w.way = s.way
    join asked a on a.line = s.part // 3, query_table(given);

-- What is kept of it (see kept_at), and what it is at a table of parameters.
create or replace view frequency_means as
    with kept as (select unnest(kept_at()))
    from frequency_means_of(kept);
create or replace macro frequency_means_at(given) as table
    from frequency_means
    semi join query_table(given) using (half_from, half_to, listed)
    union all
    select m.*
    from frequency_means_of(given) m, query_table(given) p
    where p.half_from <> kept_at().half_from or p.half_to <> kept_at().half_to or p.listed <> kept_at().listed;
