-- One row is one model on one corpus and one number of bytes: the share of anchors, the same for all models of the
-- corpus, from which the model reproduces that many bytes of the text; and its bits per byte there.
--
-- Why this number: 32 tokens are more text under one tokenizer than under another, and of other text, so that rates
-- by the token do not compare across families. Bytes do: every model is judged at the same anchors by the same bytes.
-- A model can be judged at an anchor where its continuation begins at the anchor itself (no token spans it) and holds
-- `horizon` bytes. Only anchors where all models of the corpus can be judged are compared; which they are depends on
-- the horizon, so that a model's rates at two horizons are of other anchors.
-- Bits per byte: by the probabilities of the true tokens up to the first token that ends at or after the horizon, over
-- the bytes that they hold.
-- Left out: own_left_out is what a model costs by itself, because a token spans the anchor, 32 tokens are too little
-- text, or it was not asked; left_out_alone, what would come back without its tokenizer. A model that was asked about
-- less than `minimum_share` as many anchors as the median model would leave few to all others: it is not compared.
-- Where fewer than `minimum_anchors` are left there is no rate.
-- Interval: 95 %, document-cluster (see macros.sql); of bits per byte NULL where all texts are alike, or there is one.
-- Leaves out: that prompts of equal token counts hold different bytes, and that anchors which all tokenizers can be
-- judged at are more often plain words than an average one. Domains are added up as they come: short tokens leave few
-- anchors of code and maths at long horizons. Of several windows of a model on one anchor the one with the longest
-- prompt counts.
-- Units: shares in [0, 1]; bits per byte.
-- Source: docs/method/comparisons.md; bits per byte as in Gao et al. 2020, arXiv 2101.00027, section 3.1.
-- Key: model, corpus, sample_rule, sample_window, condition, tokenizer, horizon
-- Columns:
--   family, model, miniature, params, corpus, role, sample_rule, sample_window, condition
--   tokenizer       its tokenizer
--   horizon         bytes from the anchor on
--   models          models that are compared
--   anchors         anchors that any of them was asked about
--   asked           anchors that this one was asked about
--   n               anchors at which all of them can be judged
--   documents
--   left_out        share of the anchors that is not compared: 1 - n / anchors
--   own_left_out    share at which this model cannot be judged
--   left_out_alone  share at which all others can be judged, and models of its tokenizer cannot
--   reproduced      anchors of the n from which all `horizon` bytes are reproduced
--   rate            reproduced / n; NULL: see note
--   low, high
--   bits_per_byte   bits per byte from the n anchors on; NULL: log-probabilities are not known
--   bits_low, bits_high
--   note            'asked about too few' (not compared), 'too few' (anchors left), or NULL
with parameters as not materialized (select
    [16, 32, 48, 64, 96] as horizons,   -- bytes that must be reproduced
    0.5 as minimum_share,               -- of the median model's anchors that a model must be asked about
    20 as minimum_anchors               -- below which no rate stands
), sums as (
    from byte_sums_at(parameters)
)
select family, model, miniature, params, corpus, role, sample_rule, sample_window, condition, tokenizer, horizon,
    models, anchors, asked, n, documents, 1 - n / anchors as left_out, 1 - own / anchors as own_left_out,
    alone / anchors as left_out_alone, reproduced, if(note is null, reproduced / n, null) as rate,
    if(note is null, low, null) as low, if(note is null, high, null) as high,
    if(note is null, sums.bits_per_byte, null) as bits_per_byte,
    if(note is null, sums.bits_per_byte - margin, null) as bits_low,
    if(note is null, sums.bits_per_byte + margin, null) as bits_high, note
from labelled(sums) sums
cross join lateral (
    select case when not compared then 'asked about too few'
        when n < (select minimum_anchors from parameters) then 'too few' end as note
)
order by corpus, sample_rule, sample_window, horizon, family, params, model
