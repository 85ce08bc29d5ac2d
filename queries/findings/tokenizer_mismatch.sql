-- One row is one span counted in two ways, under the sequences' own tokenizer and under another, for one model on one
-- corpus: how far the counts, and what they say of memorized text, move.
--
-- Why this number: a count made with another model's tokenizer, as of a public index, is a count of other pieces of the
-- text, cut elsewhere at both ends. Whether that matters is two questions. Do the two counts agree, sequence by
-- sequence? And does the conclusion stand: that memorized sequences (every token produced) are more frequent than
-- unmemorized ones (score 0), by effect decades? Both effects are of the same sequences, so `change`, their difference,
-- is known far better than either; overlap of their intervals says nothing.
-- A sequence's size is its count, or of a list the mean over its positions of log10(1 + count), since lists of two
-- tokenizers have no position in common.
-- Interval: 95 %, over documents (cluster_margin and difference_margin in macros.sql); NULL where all are alike.
-- Leaves out: sequences counted in one way only; of the effects, sequences between the groups and those whose decoding
-- was skipped; differences between domains, which are pooled. How the counts agree is asked of all sequences of the
-- corpus under the tokenizer, whichever of them the model was measured on.
-- Units: decades (difference, effects and change are of log10(1 + count)); shares in [0, 1]; correlation in [-1, 1].
-- Source: arXiv 2603.21658, section 4.3, which counts all families with the tokenizer of Llama 2; Spearman 1904,
-- American J. Psychology 15:72 (equal counts share the mean of their ranks).
-- Key: model, corpus, sample_rule, sample_window, condition, counted_corpus, complete, span, own_tokenizer,
--   other_tokenizer
-- Columns:
--   family, model, miniature, params, corpus, role, sample_rule, sample_window, condition, counted_corpus, complete
--   span             'unigrams', 'bigrams', 'continuation' or 'window'
--   own_tokenizer    the sequences' tokenizer
--   other_tokenizer  the other one, or 'bytes'
--   n                sequences counted in both ways
--   documents
--   equal            share of them with equal sizes
--   rebucketed       share whose size moves to another bucket of powers of two
--   correlation      Spearman's, of the sizes; NULL where either is constant, or see note
--   difference       mean of other - own
--   difference_low, difference_high
--   memorized        memorized sequences among those the model was measured on
--   unmemorized      unmemorized ones
--   effect_own       mean of the memorized less mean of the unmemorized, own tokenizer; NULL: see note
--   own_low, own_high
--   effect_other     the same under the other
--   other_low, other_high
--   change           effect_other - effect_own
--   change_low, change_high
--   agree            both effects' intervals lie on the same side of 0, or both hold it; NULL: one is NULL
--   note             'too few' (documents of either group), or NULL
with parameters as (select
    10 as minimum_documents     -- of either group, below which no effect and no correlation is given
), sizes as (       -- decimals: differences that cancel add up to 0 in any order
    select sequence_id, corpus, domain, tokenizer, counted_corpus, counted_tokenizer, complete, span,
        list_avg([log10(1 + c) for c in counts])::decimal(18, 12) as size,
        doubling(if(len(counts) = 1, counts[1], 10 ** size - 1)) as bucket
    from ngram_counts
    where span <> 'document'    -- which no tokenizer cuts
), of_sequence as (
    select sequence_id, sample_rule, sample_window from sequences
), lines as materialized (      -- grouping by a number instead of names is three times as fast
    select row_number() over ()::int as line, *
    from (
        select distinct corpus, tokenizer, sample_rule, sample_window, counted_corpus, complete, span,
            counted_tokenizer as other_tokenizer
        from ngram_counts
        join of_sequence using (sequence_id)
        where counted_tokenizer <> tokenizer
    )
), pairs as materialized (
    select line, sequence_id, coalesce(text, sequence_id) as text, a.size as own, b.size as other,
        a.bucket <> b.bucket as rebucketed
    from sizes a
    join sizes b using (sequence_id, corpus, domain, tokenizer, counted_corpus, complete, span)
    join lines l using (corpus, tokenizer, counted_corpus, complete, span)
    join of_sequence s using (sequence_id)
    left join sequence_texts using (sequence_id, corpus, domain)
    where a.counted_tokenizer = tokenizer and b.counted_tokenizer = other_tokenizer
        and l.sample_rule is not distinct from s.sample_rule and l.sample_window is not distinct from s.sample_window
), ranks as (       -- twice the mean of the first and the last rank of equals
    select line, rank() over by_own + count(*) over by_own as own,
        rank() over by_other + count(*) over by_other as other
    from pairs
    window by_own as (partition by line order by own), by_other as (partition by line order by other)
), correlations as (
    select line, corr(own, other) as r from ranks group by line
), differences as (
    select line, sum(n)::bigint as n, count(*) as documents, sum(equal) / sum(n) as equal,
        sum(rebucketed) / sum(n) as rebucketed, sum(x) / sum(n) as difference, cluster_margin(x::double, n) as margin
    from (
        select line, text, count(*) as n, count(*) filter (own = other) as equal,
            count(*) filter (rebucketed) as rebucketed, sum(other - own) as x
        from pairs
        group by line, text
    )
    group by line
), documents as (
    select model, condition, line, text, count(*) filter (memorized) as m, count(*) filter (score = 0) as u,
        coalesce(sum(own) filter (memorized), 0) as m_own, coalesce(sum(own) filter (score = 0), 0) as u_own,
        coalesce(sum(other) filter (memorized), 0) as m_other, coalesce(sum(other) filter (score = 0), 0) as u_other
    from pairs
    join matches using (sequence_id)
    group by model, condition, line, text
), effects as (
    select model, condition, line, sum(m)::bigint as memorized, sum(u)::bigint as unmemorized,
        if(coalesce(fewer_documents(m, u), 0) < any_value(minimum_documents), 'too few', null) as note,
        if(note is null, sum(m_own) / sum(m) - sum(u_own) / sum(u), null) as own,
        difference_margin(m_own::double, m, u_own::double, u) as own_margin,
        if(note is null, sum(m_other) / sum(m) - sum(u_other) / sum(u), null) as other,
        difference_margin(m_other::double, m, u_other::double, u) as other_margin,
        difference_margin((m_other - m_own)::double, m, (u_other - u_own)::double, u) as change_margin
    from documents, parameters
    group by model, condition, line
), measured as (
    from effects join lines using (line)
)
select family, model, miniature, params, corpus, role, sample_rule, sample_window, condition, counted_corpus, complete,
    span, tokenizer as own_tokenizer, other_tokenizer, n, documents, equal, rebucketed,
    if(isnan(r), null, r) as correlation,
    difference, difference - margin as difference_low, difference + margin as difference_high, memorized, unmemorized,
    own as effect_own, own - own_margin as own_low, own + own_margin as own_high,
    other as effect_other, other - other_margin as other_low, other + other_margin as other_high,
    other - own as change, change - change_margin as change_low, change + change_margin as change_high,
    (own_low > 0) = (other_low > 0) and (own_high < 0) = (other_high < 0) as agree, note
from labelled(measured)
join differences using (line)
join correlations using (line)
order by family, params, model, corpus, sample_rule, sample_window, counted_corpus, complete, own_tokenizer,
    other_tokenizer, span
