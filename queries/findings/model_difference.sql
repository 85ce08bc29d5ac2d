-- One row is one pair of models of one family on one corpus: do they memorize differently many of the same sequences?
--
-- Why this number: two rates with intervals of their own say little of their difference, since both models were asked
-- about the same sequences and mostly agree. Only sequences that one of them memorized and the other did not tell them
-- apart: McNemar's exact test asks whether these fall to either side alike, and the interval of the difference takes
-- the correlation of the two rates into account.
-- p takes sequences to be independent, the interval counts texts: where one text gave many sequences (documents is far
-- below n), the interval is the one to read. p_holm: Holm's correction (adjusted_p in macros.sql) over the pairs of the
-- family on this corpus and kind of sample, however many: where none of them differ, any row is below 0.05 in 5 % of
-- such families at most.
-- Interval: 95 %, document-cluster, of the difference (difference_low in macros.sql).
-- Leaves out: models of other tokenizers, which have no sequences in common (byte_rate and shared_memorization compare
-- them), sequences that only one of the two was asked about, and near misses.
-- Units: shares in [0, 1], their difference in [-1, 1]; probabilities.
-- Source: McNemar 1947, Psychometrika 12:153; Holm 1979, Scandinavian Journal of Statistics 6:65.
-- Key: corpus, model_a, model_b, sample_rule, sample_window, condition_a, condition_b
-- Columns:
--   family      training line of both
--   miniature, corpus
--   model_a     the smaller model, or the first in alphabetical order
--   role_a
--   model_b     the other model
--   role_b, sample_rule, sample_window, condition_a, condition_b
--   n           sequences that both were asked about
--   documents
--   in_both     memorized by both
--   only_a      memorized by the first alone
--   only_b      memorized by the second alone
--   in_neither  memorized by neither
--   rate_a      share of the n that the first memorized
--   rate_b      share of the n that the second memorized
--   difference  rate_b - rate_a
--   low, high
--   p           of McNemar's exact test, two-sided
--   pairs       pairs of the family that are corrected for
--   p_holm      p, corrected for them
with numbered as (
    from lines_of(match_sums)
), lines as materialized (      -- two bits of a pattern for each model: asked, memorized
    select *, set_bit(none, place, 1) as asked, set_bit(asked, place + 1, 1) as known
    from (
        select *, dense_rank() over (order by family, miniature, corpus, sample_rule, sample_window)::int as "group",
            2 * (row_number() over of_group)::int - 2 as place
        from labelled(numbered)
        window of_group as (partition by family, miniature, corpus, sample_rule, sample_window order by line)
    ), (select bitstring('0', 1 + 2 * count(*)::int) as none from numbered)
), measured as (
    select "group", sequence_id, bit_or(if(memorized, known, asked)) as pattern
    from on_lines(matches, numbered) m
    join lines using (line)
    group by "group", sequence_id
), patterns as (
    select "group", 0 as part, text, pattern from with_text(measured)
), pairs as (
    select "group", a.line as line_a, b.line as line_b, a.place as place_a, b.place as place_b
    from lines a
    join lines b using ("group")
    where (coalesce(a.params, 0), a.model) < (coalesce(b.params, 0), b.model)
), sums as (
    select line_a, line_b, sum(documents * n)::bigint as n, sum(documents)::bigint as documents,
        sum(documents * x_and_y)::bigint as in_both,
        (sum(documents * x) - sum(documents * x_and_y))::bigint as only_a,
        (sum(documents * y) - sum(documents * x_and_y))::bigint as only_b,
        sum(documents * x) / sum(documents * n) as rate_a, cluster_low(x, n, w := documents) as low_a,
        cluster_high(x, n, w := documents) as high_a,
        sum(documents * y) / sum(documents * n) as rate_b, cluster_low(y, n, w := documents) as low_b,
        cluster_high(y, n, w := documents) as high_b, error_correlation(x, y, n, w := documents) as correlation
    from (
        select line_a, line_b, kind, any_value(documents) as documents, count(*) as n,
            sum(get_bit(pattern, place_a + 1)) as x, sum(get_bit(pattern, place_b + 1)) as y,
            sum(get_bit(pattern, place_a + 1) * get_bit(pattern, place_b + 1)) as x_and_y
        from alike_texts(patterns)
        join pairs using ("group")
        where get_bit(pattern, place_a) = 1 and get_bit(pattern, place_b) = 1
        group by line_a, line_b, kind
    )
    group by line_a, line_b
), tested as (
    select a.family, a.miniature, a.corpus, a.model as model_a, a.role as role_a, b.model as model_b, b.role as role_b,
        a.sample_rule, a.sample_window, a.condition as condition_a, b.condition as condition_b, sums.*,
        a.params as params_a, b.params as params_b, mcnemar_p(only_a, only_b) as p,
        (a.family, a.miniature, a.corpus, a.sample_rule, a.sample_window) as tests
    from sums
    join lines a on a.line = line_a
    join lines b on b.line = line_b
), stepped as (
    select *, count(*) over (partition by tests) as pairs, adjusting(p, tests, few := pairs) as step from tested
)
select family, miniature, corpus, model_a, role_a, model_b, role_b, sample_rule, sample_window, condition_a,
    condition_b, n, documents, in_both, only_a, only_b, n - in_both - only_a - only_b as in_neither, rate_a, rate_b,
    rate_b - rate_a as difference, difference_low(rate_b, low_b, rate_a, high_a, correlation) as low,
    difference_high(rate_b, high_b, rate_a, low_a, correlation) as high, p, pairs,
    adjusted_p(p, step, tests, few := pairs) as p_holm
from stepped
order by family, miniature, corpus, sample_rule, sample_window, params_a, model_a, params_b, model_b
