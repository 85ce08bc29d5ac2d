-- One row is one line of models on one corpus: how the memorization rate grows with the number of parameters.
--
-- Why this number: within a family the rate is close to a + b log10(parameters), so b, in percentage points for ten
-- times the parameters, sums it up. A line is the models of one family at one revision with one role to the corpus,
-- measured under one condition on one kind of sample, miniatures apart. A model's rate is the mean of its rates in the
-- domains that all models of the line share, each domain with equal weight: then neither a domain that one model lacks
-- nor a larger sample of a domain moves the line. Sizes are nominal or counted for the whole line, never mixed (see
-- model_sizes).
-- Fit: least squares over models, each with equal weight, because models scatter about the line by more than the
-- sample explains. logit_slope is the same fit to ln(rate / (1 - rate)), which has no ceiling, of (m + 1/2) / (n + 1),
-- since a rate may be 0.
-- Two kinds of error, which answer different questions; both 95 %:
--   between models  slope_low to slope_high: would other models of the family lie on this line? Student's t with models
--                   - 2 degrees of freedom, of which three models leave one.
--   of the sample   sample_low to sample_high: would these models have this slope on other texts? All models of a line
--                   are asked about the same texts, so texts are taken whole: the slope is a linear combination of
--                   rates, and its variance over texts a sum (linearization: Wolter 2007, 6.5); Student's t with
--                   degrees_of_freedom (macros.sql). It is what a bootstrap of texts tends to, without its chance. A
--                   rate of 0 or 1 counts as certain; its logit is nothing that the sample would bound: NULL.
-- Leaves out: models whose size is not known and domains that not all models have (both counted), and that rates cannot
-- leave [0, 100] as a line can.
-- Units: percentage points (slope: for each factor of ten in parameters; intercept: at one parameter); logit_slope and
-- its limits: natural logarithm of the odds, for each factor of ten.
-- Source: arXiv 2603.21658, section 4.1; Carlini et al. 2023, arXiv 2202.07646.
-- Key: family, miniature, revision, corpus, role, sample_rule, sample_window, condition, size_kind
-- Columns:
--   family, miniature
--   revision           revision that was asked for; NULL: the main one
--   corpus, role, sample_rule, sample_window, condition
--   size_kind          'nominal' or 'counted' parameters
--   models             models in the fit
--   sizes              distinct sizes among them
--   domains            domains that all of them share
--   sequences          sequences in the fit, over models and domains
--   documents
--   left_out_models    models whose size is not known
--   left_out_domains   domains that only some models have
--   slope              percentage points a decade of parameters; NULL: see note
--   slope_low          lower end of its interval between models; NULL with 2 models, or all on the line
--   slope_high         upper end of it
--   sample_low         lower end of its interval of the sample; NULL: a domain has one text, or none varies
--   sample_high        upper end of it
--   intercept          rate at one parameter, percentage points
--   r2                 share of the variance between models that the line explains
--   logit_slope        slope of the logit of the rate
--   logit_low          lower end of its interval between models
--   logit_high         upper end of it
--   logit_sample_low   lower end of its interval of the sample; NULL also where a model's rate is 0 or 1
--   logit_sample_high  upper end of it
--   note               'too few' (sizes), 'no shared domain', 'nothing varies' (all rates are equal), or NULL
with parameters as (select
    3 as minimum_sizes      -- distinct sizes below which no line is drawn
), rates as (
    select {'family': family, 'miniature': miniature, 'revision': revision, 'corpus': corpus, 'role': role,
            'sample_rule': sample_rule, 'sample_window': sample_window, 'condition': condition} as line,
        size_kind, model, params, domain, sum(documents * m) / sum(documents * n) as rate, sum(documents * n) as n,
        sum(documents)::bigint as texts
    from labelled(match_sums)
    group by all
), marked as (      -- shared: every model of known size has the domain
    select *,
        count(params) over (partition by line, domain)
        = count(distinct model) filter (params is not null) over (partition by line) as shared
    from rates
), points as (
    select *, (y * asked + 0.5) / (asked + 1) as inside, ln(inside / (1 - inside)) as logit,
        asked / (asked + 1) / inside / (1 - inside) as logit_by_rate
    from (
        select line, size_kind, model, params, log10(params) as x, avg(rate) filter (shared) as y,
            sum(n) filter (shared) as asked, min(texts) filter (shared) as fewest
        from marked
        group by all
    )
), sums as (
    select line, size_kind, count(*) filter (x is not null) as models, count(distinct params) as sizes,
        coalesce(sum(asked) filter (x is not null), 0)::bigint as sequences,
        count(*) filter (x is null) as left_out_models, min(fewest) filter (x is not null) as fewest,
        bool_and(0 < y and y < 1) filter (x is not null) as all_inside, avg(x) as x_mean,
        avg(y) filter (x is not null) as y_mean, regr_sxx(y, x) as sxx, regr_sxy(y, x) as sxy, regr_syy(y, x) as syy,
        regr_sxy(logit, x) as logit_sxy, regr_syy(logit, x) as logit_syy
    from points
    group by all
), lines as (       -- sxx, by which all else is divided, becomes NULL where no line is drawn
    select sums.* replace (if(note is null, sxx, null) as sxx), domains, left_out_domains, note
    from sums
    join (
        select line, count(distinct domain) filter (shared) as domains,
            count(distinct domain) filter (not shared) as left_out_domains
        from marked
        group by line
    ) using (line), parameters, lateral (
        select case when domains = 0 then 'no shared domain' when sizes < minimum_sizes then 'too few'
            when syy < 1e-12 then 'nothing varies' end as note
    )
), weights as (     -- by which a model's rate in a domain enters the slopes
    select line, model, domain, rate, marked.n, (x - x_mean) / sxx / domains as weight,
        weight * logit_by_rate as logit_weight
    from marked
    join points using (line, model)
    join lines using (line)
    where shared and x is not null
), numbered as (
    from lines_of(match_sums)
), placed as materialized (     -- two bits of a pattern for each model: asked, memorized
    select *, set_bit(none, place, 1) as asked, set_bit(asked, place + 1, 1) as known
    from (
        select line as number, model, {'family': family, 'miniature': miniature, 'revision': revision,
                'corpus': corpus, 'role': role, 'sample_rule': sample_rule, 'sample_window': sample_window,
                'condition': condition} as line,
            dense_rank() over of_all as "group", 2 * (row_number() over of_line)::int - 2 as place
        from labelled(numbered)
        window of_all as (order by family, miniature, revision, corpus, role, sample_rule, sample_window, condition),
            of_line as (
                partition by family, miniature, revision, corpus, role, sample_rule, sample_window, condition
                order by model)
    ), (select bitstring('0', 1 + 2 * count(*)::int) as none from numbered)
), measured as (
    select "group", sequence_id, any_value(domain) as part, bit_or(if(memorized, known, asked)) as pattern
    from on_lines(matches, numbered) m
    join (select number as line, "group", asked, known from placed) using (line)
    group by "group", sequence_id
), patterns as (
    select "group", part, text, pattern from with_text(measured)
), texts as (           -- n, m: of texts that are alike the sequences that a model was asked about, and memorized
    select kind, documents, line, model, part as domain, count(*) as n, sum(get_bit(pattern, place + 1)) as m
    from alike_texts(patterns)
    join placed using ("group")
    where get_bit(pattern, place) = 1
    group by all
), errors as (
    select line, sum(documents)::bigint as documents, student_t(degrees_of_freedom(size, w := documents)) as t,
        if_any(sum(documents * z * z), sum(documents * of_text * of_text)) as variance,
        if_any(sum(documents * logit_z * logit_z), sum(documents * of_logit * of_logit)) as logit_variance
    from (
        select line, kind, any_value(documents) as documents, sum(abs(weight) * t.n / w.n) as size,
            sum(weight * (m - rate * t.n) / w.n) as z, sum(logit_weight * (m - rate * t.n) / w.n) as logit_z,
            sum(abs(weight) * m / w.n) as of_text, sum(abs(logit_weight) * m / w.n) as of_logit
        from texts t
        join weights w using (line, model, domain)
        group by line, kind
    )
    group by line
), drawn as (
    select *, sxy / sxx as slope, logit_sxy / sxx as logit_slope, syy - slope * sxy as residual,
        logit_syy - logit_slope * logit_sxy as logit_residual,
        student_t(models - 2) / sqrt(nullif(models - 2, 0) * sxx) as width,
        if(residual > 1e-12, width * sqrt(residual), null) as margin,
        if(logit_residual > 1e-12, width * sqrt(logit_residual), null) as logit_margin,
        t * sqrt(fewest / nullif(fewest - 1, 0) * variance) as sample_margin,
        if(all_inside, t * sqrt(fewest / nullif(fewest - 1, 0) * logit_variance), null) as logit_sample_margin
    from lines
    left join errors using (line)
)
select line.family, line.miniature, line.revision, line.corpus, line.role, line.sample_rule, line.sample_window,
    line.condition, size_kind, models, sizes, domains, sequences, coalesce(documents, 0) as documents, left_out_models,
    left_out_domains, 100 * slope as slope, 100 * (slope - margin) as slope_low, 100 * (slope + margin) as slope_high,
    100 * (slope - sample_margin) as sample_low, 100 * (slope + sample_margin) as sample_high,
    100 * (y_mean - slope * x_mean) as intercept, 1 - residual / syy as r2,
    logit_slope, logit_slope - logit_margin as logit_low, logit_slope + logit_margin as logit_high,
    logit_slope - logit_sample_margin as logit_sample_low, logit_slope + logit_sample_margin as logit_sample_high, note
from drawn
order by all
