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
), numbered as materialized (
    select *, set_bit(bitstring('0', 1 + count(*) over ()::int), place, 1) as bit
    from (
        select *, dense_rank() over (order by corpus, sample_rule, sample_window)::int as sample,
            row_number() over (partition by corpus, sample_rule, sample_window order by line)::int - 1 as place
        from lines_of(match_sums)
    )
), of_sequence as (     -- which models were asked: a bit for each
    select sample, sequence_id, bit_or(bit) as models
    from on_lines(matches, numbered)
    join (select line, sample, bit from numbered) using (line)
    where matched_bytes is not null
    group by sample, sequence_id
), placed as materialized (     -- reach: bytes from the anchor on by which a model can be judged
    select sample, sequence_id, s.tokenizer, anchor_id, prefix_tokens, coalesce(text, sequence_id) as text, models,
        if(byte_cut = anchor, byte_end - byte_cut, 0) as reach
    from of_sequence
    join (
        select sequence_id, tokenizer, anchor_id, prefix_tokens, anchor, byte_cut, byte_end from sequences
    ) s using (sequence_id)
    left join (select sequence_id, text from sequence_texts) using (sequence_id)
    where anchor_id is not null
), chosen as (          -- of several windows on one anchor each model's with the longest prompt
    from placed anti join (
        select sample, tokenizer, anchor_id from placed group by all having count(*) > 1
    ) using (sample, tokenizer, anchor_id)
    union all
    select * replace (models & ~coalesce(bit_or(models) over longer, models & ~models) as models)
    from placed semi join (
        select sample, tokenizer, anchor_id from placed group by all having count(*) > 1
    ) using (sample, tokenizer, anchor_id)
    window longer as (
        partition by sample, tokenizer, anchor_id order by prefix_tokens desc, sequence_id
        rows between unbounded preceding and 1 preceding
    )
), lines as materialized (
    select *, count(*) filter (compared) over (partition by sample) as models
    from (
        select *, asked >= (select minimum_share from parameters) * median(asked) over (partition by sample) as compared
        from (
            select sample, place, tokenizer, sum(asked)::bigint as asked
            from (select sample, tokenizer, models, count(*) as asked from chosen group by all)
            join numbered using (sample)
            where get_bit(models, place) = 1
            group by sample, place, tokenizer
        )
        join numbered using (sample, place)
    )
), tokenizers as (      -- the bits of those that are compared
    select sample, tokenizer, bit_or(bit) as of_tokenizer from lines where compared group by sample, tokenizer
), judged as materialized (
    select chosen.* replace (models & of_tokenizer as models), of_tokenizer
    from chosen
    join tokenizers using (sample, tokenizer)
    where bit_count(models & of_tokenizer) > 0
), anchors as materialized (    -- up to where all models can be judged, and all but those of the weakest tokenizer
    select sample, anchor_id, min(reach) as shared, arg_min(tokenizer, reach) as weakest,
        if(count(*) = 1, 9223372036854775807, min(reach, 2)[2]) as others
    from (              -- every anchor with every tokenizer: reach is 0 where one of its models was not asked
        select sample, anchor_id, tokenizer, coalesce(reach, 0) as reach
        from (select distinct sample, anchor_id from judged)
        join tokenizers using (sample)
        left join (
            select sample, anchor_id, tokenizer, if(bit_or(models) = any_value(of_tokenizer), min(reach), 0) as reach
            from judged
            group by sample, anchor_id, tokenizer
        ) using (sample, anchor_id, tokenizer)
    )
    group by sample, anchor_id
), places as (
    select row_number() over (order by horizon)::int as step, horizon
    from (select unnest(horizons) as horizon from parameters)
), sampled as (         -- whatever text they lie in
    select sample, step, count(*) as anchors from anchors, places group by sample, step
), own as (
    select line, step, sum(own)::bigint as own
    from (
        select sample, step, tokenizer, models, count(*) filter (reach >= horizon) as own
        from judged, places
        group by all
    ) j
    join lines l using (sample, tokenizer)
    where get_bit(j.models, place) = 1
    group by line, step
), alone as (
    select sample, weakest as tokenizer, step, count(*) as alone
    from anchors, places
    where shared < horizon and others >= horizon
    group by sample, weakest, step
), reached as materialized (    -- tokens: up to the first that ends at or after each horizon that all models reach
    select sample, sequence_id, text, j.models, list_transform(list_filter(horizons, lambda h: h <= shared), lambda h:
        1 + len(list_filter(ends, lambda e: e < byte_cut + h))) as tokens, ends, byte_cut
    from (select sample, anchor_id, shared from anchors, parameters where shared >= list_min(horizons))
    join judged j using (sample, anchor_id)
    join (
        select sequence_id, byte_cut, byte_ends[prefix_tokens + 1:] as ends from sequences
    ) using (sequence_id), (select list_sort(horizons) as horizons from parameters)
), reproducible as (
    select line, text, matched_bytes, logprobs::double[] as logprobs, r.tokens,
        list_transform(r.tokens, lambda t: ends[t] - byte_cut) as bytes
    from on_lines(matches, numbered) m
    join (select line, sample, place from lines where compared) using (line)
    join reached r using (sample, sequence_id)
    where matched_bytes is not null and get_bit(r.models, place) = 1
), texts as (
    select line, step, text, count(*) as n, count(*) filter (matched_bytes >= horizon) as m,
        coalesce(sum(bits), 0) as bits, coalesce(sum(bytes) filter (bits is not null), 0) as bytes
    from (
        select line, text, matched_bytes, unnest(range(1, len(tokens) + 1))::int as step, unnest(bytes) as bytes,
            0 - list_sum(logprobs[1:tokens[step]]) / ln(2) as bits
        from reproducible
    )
    join places using (step)
    group by line, step, text
), sums as (
    select line, step, sum(n)::bigint as n, count(*) as documents, sum(m)::bigint as reproduced,
        cluster_low(m, n) as low, cluster_high(m, n) as high, sum(bits) / nullif(sum(bytes), 0) as bits_per_byte,
        cluster_margin(bits, bytes) as margin
    from texts
    group by line, step
), counts as (
    select line, step, horizon, anchors, coalesce(own, 0) as own, coalesce(alone, 0) as alone, coalesce(n, 0) as n,
        coalesce(documents, 0) as documents, coalesce(reproduced, 0) as reproduced, low, high, bits_per_byte, margin
    from (from lines where compared)
    join sampled using (sample)
    join places using (step)
    left join own using (line, step)
    left join alone using (sample, tokenizer, step)
    left join sums using (line, step)
)
select family, model, miniature, params, corpus, role, sample_rule, sample_window, condition, tokenizer,
    places.horizon, models, anchors, asked, n, documents, 1 - n / anchors as left_out,
    1 - own / anchors as own_left_out, alone / anchors as left_out_alone, reproduced,
    if(note is null, reproduced / n, null) as rate, if(note is null, low, null) as low,
    if(note is null, high, null) as high, if(note is null, sums.bits_per_byte, null) as bits_per_byte,
    if(note is null, sums.bits_per_byte - margin, null) as bits_low,
    if(note is null, sums.bits_per_byte + margin, null) as bits_high, note
from labelled(lines)
cross join places
cross join parameters
left join (select * exclude (horizon) from counts) sums using (line, step)
cross join lateral (
    select case when not compared then 'asked about too few' when n < minimum_anchors then 'too few' end as note
)
order by corpus, sample_rule, sample_window, horizon, family, params, model
