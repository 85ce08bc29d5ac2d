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
    from lines_of(matches)
), lines as materialized (
    from labelled(numbered)
), measured as (
    from on_lines(matches, lines)
), asked as materialized (
    select line, domain, sequence_id, text, memorized
    from with_text(measured)
), pairs as (
    select a.line as line_a, b.line as line_b
    from lines a
    join lines b on a.family = b.family and a.miniature = b.miniature and a.corpus = b.corpus
        and a.sample_rule is not distinct from b.sample_rule and a.sample_window is not distinct from b.sample_window
        and (coalesce(a.params, 0), a.model) < (coalesce(b.params, 0), b.model)
), sums as (
    select line_a, line_b, sum(n)::bigint as n, count(*) as documents, sum(x_and_y)::bigint as in_both,
        (sum(x) - sum(x_and_y))::bigint as only_a, (sum(y) - sum(x_and_y))::bigint as only_b,
        sum(x) / sum(n) as rate_a, cluster_low(x, n) as low_a, cluster_high(x, n) as high_a,
        sum(y) / sum(n) as rate_b, cluster_low(y, n) as low_b, cluster_high(y, n) as high_b,
        error_correlation(x, y, n) as correlation
    from (
        select line_a, line_b, a.text, count(*) as n, count(*) filter (a.memorized) as x,
            count(*) filter (b.memorized) as y, count(*) filter (a.memorized and b.memorized) as x_and_y
        from pairs
        join asked a on a.line = line_a
        join asked b on b.line = line_b and b.sequence_id = a.sequence_id and b.domain = a.domain
        group by line_a, line_b, a.text
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
