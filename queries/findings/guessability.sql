-- One row is one model on one domain of one corpus: what it memorizes of text that gives its continuation away, and of
-- the rest.
--
-- Why this number: text that repeats one piece, counts up, or goes on with a template can be written down by a model
-- that never saw it. rest_rate leaves it out; share tells how much of the memorized set it is. Huffman length (how
-- little the bytes of a text vary) and ROUGE-L (how much of the continuation's words stand in the prefix) say it in
-- degrees, for what is memorized and what is not. Guessable is what is templated: nearly all of its words and numbers
-- are given by the pieces before them; repeating and incrementing text is among it. With the parameter rouge_l, also
-- what has at least that ROUGE-L.
-- Interval: 95 %, document-cluster: of shares as in memorization_rate; of means by Student's t, NULL for one document,
-- or where all are alike.
-- Leaves out: sequences that were not judged, such as imported ones without tokens (not_judged counts them, and all
-- other columns are of the judged); text that is guessable by knowledge or grammar (an alphabet, closing brackets):
-- control_adjusted_rate has that.
-- Units: rates and shares in [0, 1]; Huffman length in bits a byte, 0 to 8; ROUGE-L in [0, 1].
-- Source: Prashanth et al. 2024, arXiv 2406.17746; Lin 2004 (ROUGE-L); Huffman 1952.
-- Columns:
--   family, model, miniature, params, corpus, role, sample_rule, sample_window, condition, domain, class
--   n                    sequences that were judged
--   not_judged           sequences without a row in `guessability`
--   documents            distinct texts that the n sequences lie in
--   memorized, rate, low, high
--   guessable            sequences that are guessable
--   guessable_memorized  those produced verbatim
--   guessable_rate       guessable_memorized / guessable; NULL where there are none
--   rest_rate            share of the other sequences that is produced verbatim
--   rest_low, rest_high
--   share                guessable_memorized / memorized; NULL where nothing is memorized
--   share_low, share_high
--   repeating            sequences that repeat one piece of text
--   repeating_rate       share of them that is produced verbatim
--   incrementing         sequences whose numbers count up or down
--   incrementing_rate    share of them that is produced verbatim
--   templated            sequences that go on with a template, repeating and incrementing ones among them
--   templated_rate       share of them that is produced verbatim
--   huffman_memorized    mean Huffman length of memorized sequences
--   huffman_memorized_low, huffman_memorized_high
--   huffman_unmemorized  mean Huffman length of the others
--   huffman_unmemorized_low, huffman_unmemorized_high
--   rouge_memorized      mean ROUGE-L of memorized sequences that have words on both sides of the cut
--   rouge_memorized_low, rouge_memorized_high
--   rouge_unmemorized    mean ROUGE-L of the others
--   rouge_unmemorized_low, rouge_unmemorized_high
with parameters as (select
    2.0 as rouge_l      -- ROUGE-L from which on a sequence is guessable without being templated; above 1: none
), lines as materialized (      -- grouping by a number instead of names is three times as fast
    select *, row_number() over ()::int as line
    from (select distinct model, corpus, domain, sample_rule, sample_window, condition from match_sums)
), of_sequence as (
    select sequence_id, text, huffman_length, g.rouge_l, repeating, incrementing, templated,
        templated or coalesce(g.rouge_l >= parameters.rouge_l, false) as guessable
    from sequence_texts
    left join guessability g using (sequence_id, corpus, domain), parameters
), judged as (
    select line, coalesce(text, sequence_id) as text, memorized, huffman_length, rouge_l, repeating, incrementing,
        templated, guessable
    from (
        select line, sequence_id, memorized
        from matches m
        join lines l on l.model = m.model and l.corpus = m.corpus and l.domain = m.domain and l.condition = m.condition
            and l.sample_rule is not distinct from m.sample_rule
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
        count(rouge_l) filter (not memorized) as u_words, coalesce(sum(rouge_l) filter (not memorized), 0) as u_rouge
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
select family, model, miniature, params, corpus, role, sample_rule, sample_window, condition, domain, "class",
    rates.* exclude (line)
from rates
join labelled(lines) using (line)
left join domains using (corpus, domain)
order by family, params, model, corpus, sample_rule, sample_window, domain
