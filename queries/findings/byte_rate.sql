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
with parameters as (select
    [16, 32, 48, 64, 96] as horizons,   -- bytes that must be reproduced
    0.5 as minimum_share,               -- of the median model's anchors that a model must be asked about
    20 as minimum_anchors               -- below which no rate stands
), units as materialized (      -- reach: bytes from the anchor on by which the model can be judged
    select model, corpus, sample_rule, sample_window, condition, tokenizer, anchor_id, matched_bytes, text,
        coalesce(reach, 0) as reach,
        byte_ends[prefix_tokens + 1:] as ends,
        list_transform(horizons, lambda h: 1 + len(list_filter(ends, lambda e: e < byte_cut + h))) as tokens,
        list_transform(tokens, lambda t: ends[t] - byte_cut) as bytes,
        list_transform(tokens, lambda t: 0 - list_sum(logprobs[1:t]::double[]) / ln(2)) as bits
    from anchored_matches, parameters
    where anchor_id is not null and matched_bytes is not null
    qualify row_number() over (
        partition by model, sample_rule, sample_window, anchor_id order by prefix_tokens desc, sequence_id
    ) = 1
), lines as materialized (      -- joining and grouping by a number instead of names is three times as fast
    select *, count(*) filter (compared) over (partition by sample) as models
    from (
        select *, row_number() over ()::int as line,
            dense_rank() over (order by corpus, sample_rule, sample_window)::int as sample,
            asked >= (select minimum_share from parameters)
                * median(asked) over (partition by corpus, sample_rule, sample_window) as compared
        from (
            select model, corpus, sample_rule, sample_window, condition, tokenizer, count(*) as asked
            from units
            group by all
        )
    )
), numbered as materialized (
    select sample, line, anchor_id, text, reach, matched_bytes, bytes, bits
    from units u
    join lines l on l.model = u.model and l.corpus = u.corpus and l.tokenizer = u.tokenizer
        and l.sample_rule is not distinct from u.sample_rule and l.sample_window is not distinct from u.sample_window
    where compared
), pairs as materialized (      -- every anchor with every model: reach is 0 where the model was not asked
    select a.sample, line, tokenizer, a.anchor_id, a.text, coalesce(n.reach, 0) as reach, matched_bytes, bytes, bits
    from (select sample, anchor_id, any_value(text) as text from numbered group by sample, anchor_id) a
    join (from lines where compared) using (sample)
    left join numbered n using (line, anchor_id)
), anchors as (     -- up to where all models can be judged, and all but those of the weakest tokenizer
    select sample, anchor_id, min(reach) as shared, arg_min(tokenizer, reach) as weakest,
        if(count(*) = 1, 9223372036854775807, min(reach, 2)[2]) as others
    from (select sample, anchor_id, tokenizer, min(reach) as reach from pairs group by all)
    group by sample, anchor_id
), places as (
    select unnest(range(1, len(horizons) + 1)) as place from parameters
), sums as (
    select line, place, sum(anchors)::bigint as anchors, sum(own)::bigint as own, sum(alone)::bigint as alone,
        sum(n)::bigint as n, count(*) filter (n > 0) as documents, sum(m)::bigint as reproduced,
        cluster_low(m, n) as low, cluster_high(m, n) as high, sum(bits) / nullif(sum(bytes), 0) as bits_per_byte,
        cluster_margin(bits, bytes) as margin
    from (
        select line, place, text, count(*) as anchors, count(*) filter (reach >= horizons[place]) as own,
            count(*) filter (tokenizer = weakest and shared < horizons[place] and others >= horizons[place]) as alone,
            count(*) filter (shared >= horizons[place]) as n,
            count(*) filter (shared >= horizons[place] and matched_bytes >= horizons[place]) as m,
            coalesce(sum(bits[place]) filter (shared >= horizons[place]), 0) as bits,
            coalesce(sum(bytes[place]) filter (shared >= horizons[place] and bits[place] is not null), 0) as bytes
        from pairs
        join anchors using (sample, anchor_id), places, parameters
        group by line, place, text
    )
    group by line, place
)
select family, model, miniature, params, corpus, role, sample_rule, sample_window, condition, tokenizer,
    horizons[place] as horizon, models, anchors, asked, n, documents, 1 - n / anchors as left_out,
    1 - own / anchors as own_left_out, alone / anchors as left_out_alone, reproduced,
    if(note is null, reproduced / n, null) as rate, if(note is null, low, null) as low,
    if(note is null, high, null) as high, if(note is null, sums.bits_per_byte, null) as bits_per_byte,
    if(note is null, sums.bits_per_byte - margin, null) as bits_low,
    if(note is null, sums.bits_per_byte + margin, null) as bits_high, note
from labelled(lines)
cross join places
cross join parameters
left join sums using (line, place)
cross join lateral (
    select case when not compared then 'asked about too few' when n < minimum_anchors then 'too few' end as note
)
order by corpus, sample_rule, sample_window, horizon, family, params, model
