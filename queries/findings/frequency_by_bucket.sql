-- One row is one span, or one position of it, counted in one way, for one group of sequences under one model on one
-- corpus: how often its text occurs in the counted corpus.
--
-- Why this number: text that training repeats is memorized first. If that is all there is to it, memorized sequences
-- are more frequent as a whole; whether their single words and pairs of words are too, and where in the window, tells
-- repetition from common words. Counts run over many powers of ten, so that a mean is one of logarithms; log10(1 + c)
-- has a place for what never occurs, which log10(c) would leave out, and with it what is rarest.
-- Groups: 'memorized' (every token produced), 'half' (score from half_from to half_to), 'unmemorized' (score 0).
-- Positions: of lists ('unigrams', 'bigrams') under the sequence's own tokenizer, where the cut lies between tokens; an
-- n-gram stands at its last token. Position NULL is the whole span: of a list each sequence's mean, and in `median` its
-- median. Lists are read of at most `listed` sequences of a group, those of the lowest ids, which are hashes: a uniform
-- sample. Whole spans are of all.
-- Interval: 95 %, over documents (see cluster_margin in macros.sql); NULL for less than two, or where
-- all are alike.
-- Leaves out: sequences between the groups, and those whose decoding was skipped; differences between domains, which
-- are pooled. A sequence of the counted corpus counts itself: 1 is then the least there can be. Counts of different
-- corpora, tokenizers or completeness are never pooled.
-- Units: counts are occurrences; mean_log10, low and high are decades; unseen is a share in [0, 1].
-- Source: arXiv 2603.21658, section 4.3, which counts all families with the tokenizer of Llama 2.
-- Columns:
--   family, model, miniature, params, corpus, role, sample_rule, sample_window, condition, counted_corpus
--   counted_tokenizer  tokenizer under which was counted, or 'bytes'
--   complete
--   own                counted_tokenizer is the sequences' own
--   span               'unigrams', 'bigrams', 'continuation', 'window', or 'document'
--   position           token, from 0 at the first of the continuation, negative in the prefix; NULL: the whole span
--   group              'memorized', 'half' or 'unmemorized'
--   n, documents
--   unseen             share of the counts that are 0
--   median             median count
--   mean_log10         mean of log10(1 + count)
--   low, high
with parameters as (select
    0.4 as half_from,   -- least share of tokens produced that counts as half memorized
    0.6 as half_to,     -- largest
    10000 as listed     -- sequences of a group whose lists are read, at most
), grouped as materialized (
    select model, corpus, domain, sample_rule, sample_window, condition, sequence_id, text, n_tokens,
        case
            when memorized then 'memorized'
            when score = 0 then 'unmemorized'
            when score between half_from and half_to then 'half'
        end as "group",
        row_number() over (
            partition by model, corpus, sample_rule, sample_window, condition, "group" order by sequence_id) as place
    from with_text(matches), parameters
    where "group" is not null
), lines as materialized (      -- grouping by a number instead of names is three times as fast
    select *, span in ('unigrams', 'bigrams') as is_list, row_number() over ()::int as line
    from (select distinct model, corpus, sample_rule, sample_window, condition, "group" from grouped)
    join (
        select distinct corpus, counted_corpus, counted_tokenizer, complete, tokenizer = counted_tokenizer as own, span
        from ngram_counts
    ) using (corpus)
), counted as (
    select line, text, is_list and own as by_position, n_tokens, counts
    from grouped g
    join ngram_counts using (sequence_id, corpus, domain)
    join lines l using (model, corpus, condition, "group", counted_corpus, counted_tokenizer, complete, span),
        parameters
    where own = (tokenizer = counted_tokenizer) and (place <= listed or not is_list)
        and l.sample_rule is not distinct from g.sample_rule and l.sample_window is not distinct from g.sample_window
), entries as (
    select line, text, null as position, list_median(counts) as count,
        list_avg([(c = 0)::int for c in counts]) as unseen, list_avg([log10(1 + c) for c in counts]) as log
    from counted
    union all
    select line, text, position, count, (count = 0)::int, log10(1 + count)
    from (
        select line, text, unnest(range(n_tokens - len(counts), n_tokens)) as position, unnest(counts) as count
        from counted
        where by_position
    )
), shares as (
    select line, position, count(*) as n, avg(unseen) as unseen, median(count)::double as median
    from entries
    group by line, position
), means as (
    select line, position as place, count(*) as documents, sum(x) / sum(n) as mean_log10, cluster_margin(x, n) as margin
    from (select line, position, count(*) as n, sum(log) as x from entries group by line, text, position)
    group by line, position
)
select family, model, miniature, params, corpus, role, sample_rule, sample_window, condition, counted_corpus,
    counted_tokenizer, complete, own, span, position, "group", n, documents, unseen, median, mean_log10,
    mean_log10 - margin as low, mean_log10 + margin as high
from shares s
join means m on m.line = s.line and position is not distinct from place
join labelled(lines) l on l.line = s.line
order by family, params, model, corpus, sample_rule, sample_window, counted_corpus, counted_tokenizer, complete, own,
    span, position nulls first, "group"
