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
-- Key: model, corpus, sample_rule, sample_window, condition, counted_corpus, complete, counted_tokenizer, span,
--   position, group
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
with parameters as not materialized (select
    0.4 as half_from,   -- least share of tokens produced that counts as half memorized
    0.6 as half_to,     -- largest
    10000 as listed     -- sequences of a group whose lists are read, at most
), means as (
    from frequency_means_at(parameters)
)
select family, model, miniature, params, corpus, role, sample_rule, sample_window, condition, counted_corpus,
    counted_tokenizer, complete, own, span, position, "group", n, documents, unseen, median, mean_log10,
    mean_log10 - margin as low, mean_log10 + margin as high
from labelled(means)
order by family, params, model, corpus, sample_rule, sample_window, counted_corpus, counted_tokenizer, complete, own,
    span, position nulls first, "group"
