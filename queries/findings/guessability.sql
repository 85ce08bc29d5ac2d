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
-- Key: model, corpus, sample_rule, sample_window, condition, domain
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
with parameters as not materialized (select
    2.0 as rouge_l      -- ROUGE-L from which on a sequence is guessable without being templated; above 1: none
), means as (
    from guess_means_at(parameters)
)
select family, model, miniature, params, corpus, role, sample_rule, sample_window, condition, domain, "class",
    means.* exclude (
        family, model, miniature, revision, size_kind, params, corpus, role, sample_rule, sample_window, condition,
        domain, rouge_l
    )
from labelled(means) means
left join domains using (corpus, domain)
order by family, params, model, corpus, sample_rule, sample_window, domain
