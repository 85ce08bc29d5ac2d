-- One row is one line of models on one corpus: how the memorization rate grows with the number of parameters.
--
-- Why this number: within a family the rate is close to a + b log10(parameters), so b, in percentage points for ten
-- times the parameters, sums it up. A line is the models of one family at one revision with one role to the corpus,
-- miniatures apart. A model's rate is the mean of its rates in the domains that all models of the line share, each
-- domain with equal weight: then neither a domain that one model lacks nor a larger sample of a domain moves the
-- line. Sizes are nominal or counted for the whole line, never mixed (see model_sizes).
-- Fit: least squares over models, each with equal weight, because models scatter about the line by more than the
-- sample explains. Interval: 95 %, Student's t with models - 2 degrees of freedom.
-- Leaves out: models whose size is not known and domains that not all models have (both counted), that rates cannot
-- leave [0, 100] as a line can, and that the models are measured on the same sequences.
-- Units: percentage points (slope: for each factor of ten in parameters; intercept: at one parameter).
-- Source: arXiv 2603.21658, section 4.1; Carlini et al. 2023, arXiv 2202.07646.
-- Columns:
--   family             architecture and training line
--   miniature          trained here, tiny, on a small corpus: not comparable with published models
--   revision           revision that was asked for; NULL: the main one
--   corpus             corpus of the sequences
--   role               'trained' or 'control'; NULL: not known
--   size_kind          'nominal' or 'counted' parameters
--   models             models in the fit
--   sizes              distinct sizes among them
--   domains            domains that all of them share
--   sequences          sequences in the fit, over models and domains
--   left_out_models    models whose size is not known
--   left_out_domains   domains that only some models have
--   slope              percentage points a decade of parameters; NULL: see note
--   slope_low          lower end of its interval; NULL with 2 models
--   slope_high         upper end of its interval; NULL with 2 models
--   intercept          rate at one parameter, percentage points
--   r2                 share of the variance between models that the line explains; NULL where all rates are equal
--   note               'too few' (sizes), 'no shared domain', or NULL
with parameters as (select
    3 as minimum_sizes      -- distinct sizes below which no line is drawn
), rates as (
    select {'family': family, 'miniature': miniature, 'revision': revision, 'corpus': corpus, 'role': role} as line,
        size_kind, model, params, domain, share(memorized) as rate, count(*) as n
    from matches
    join model_sizes using (model)
    left join model_corpora using (model, corpus)
    group by all
), marked as (      -- shared: every model of known size has the domain
    select *,
        count(params) over (partition by line, domain)
        = count(distinct model) filter (params is not null) over (partition by line) as shared
    from rates
), points as (
    select line, size_kind, model, params, log10(params) as x, 100 * avg(rate) filter (shared) as y,
        sum(n) filter (shared) as n
    from marked
    group by all
), fits as (
    select line, size_kind,
        count(*) filter (x is not null) as models, count(distinct params) as sizes,
        coalesce(sum(n) filter (x is not null), 0)::bigint as sequences, count(*) filter (x is null) as left_out_models,
        regr_slope(y, x) as slope, regr_intercept(y, x) as intercept, regr_r2(y, x) as r2,
        student_t(models - 2) * sqrt(
            greatest(0.0, regr_syy(y, x) - regr_sxy(y, x) ** 2 / nullif(regr_sxx(y, x), 0))
            / nullif(models - 2, 0) / nullif(regr_sxx(y, x), 0)
        ) as margin, regr_syy(y, x) as spread
    from points
    group by all
), drawn as (
    select fits.*, domains, left_out_domains,
        case when domains = 0 then 'no shared domain' when sizes < minimum_sizes then 'too few' end as note
    from fits
    join (
        select line, count(distinct domain) filter (shared) as domains,
            count(distinct domain) filter (not shared) as left_out_domains
        from marked
        group by line
    ) using (line), parameters
)
select line.family, line.miniature, line.revision, line.corpus, line.role, size_kind, models, sizes, domains, sequences,
    left_out_models, left_out_domains,
    if(note is null, slope, null) as slope,
    if(note is null, slope - margin, null) as slope_low,
    if(note is null, slope + margin, null) as slope_high,
    if(note is null, intercept, null) as intercept,
    if(note is null and spread > 1e-9, r2, null) as r2,
    note
from drawn
order by all
