-- One row is one model on one domain of one corpus: the share of its sampled sequences that the model produces
-- verbatim.
--
-- Why this number: a sequence counts as memorized when greedy decoding from its prefix gives every token of its
-- continuation, the strictest and most reported definition. Read it beside the same model's rows with role 'control':
-- text it never saw gives the rate of what can be guessed.
-- Interval: 95 %, document-cluster (see effective_n in macros.sql), since sequences of one document resemble each
-- other. Documents that are exact copies count as one; an imported sequence without a document is one of its own.
-- Leaves out: near misses (score_distribution has them), and that a text may stand in other documents. A domain's rate
-- is of its sample, the same number of sequences in every domain. 32 tokens are more text under one tokenizer than
-- under another: byte_rate compares families.
-- Units: rate, low and high are shares in [0, 1].
-- Source: Biderman et al. 2023, arXiv 2304.11158; arXiv 2603.21658, section 4.1.
-- Key: model, corpus, sample_rule, sample_window, condition, domain
-- Columns:
--   family, model, miniature, params, corpus, role, sample_rule, sample_window, condition, domain, class, n, documents,
--   memorized, rate, low, high
select family, model, miniature, params, corpus, role, sample_rule, sample_window, condition, domain, "class", n,
    documents, memorized, rate, low, high
from labelled(weighted_rates)
where weighted_by = 'sample'
order by family, params, model, corpus, sample_rule, sample_window, domain
