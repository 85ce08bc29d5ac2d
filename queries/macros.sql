-- The statistics that the findings share. All intervals are two-sided, 95 %; z = 1.959963984540054 throughout.

-- share(x): the mean of a boolean, over the rows where it is not NULL. (DuckDB has no avg of a boolean.)
create or replace macro share(x) as avg(x::int);

-- wilson_low(p, n), wilson_high(p, n): the score interval of a proportion p seen in n independent trials.
-- n need not be whole: an effective number of trials is meant too. Keeps its coverage near p = 0 and p = 1, where the
-- interval p +- z sqrt(p (1 - p) / n) has no width at all.
-- Wilson 1927, JASA 22:209; Brown, Cai and DasGupta 2001, Statistical Science 16:101.
create or replace macro wilson_low(p, n) as greatest(0.0,
    (p + 1.920729410347062 / n
     - 1.959963984540054 * sqrt(p * (1 - p) / n + 0.960364705173531 / n / n)) / (1 + 3.841458820694124 / n));
create or replace macro wilson_high(p, n) as least(1.0,
    (p + 1.920729410347062 / n
     + 1.959963984540054 * sqrt(p * (1 - p) / n + 0.960364705173531 / n / n)) / (1 + 3.841458820694124 / n));

-- effective_n(m, n), an aggregate over documents: m of n sequences of a document have the property. The rate is
-- p = sum(m) / sum(n), a ratio of two random numbers, because sequences of one document resemble each other and
-- documents hold different numbers of them. With C documents its variance is
--     V = C / (C - 1) * sum((m - p n)^2) / sum(n)^2,                    Cochran 1977, Sampling Techniques, 6.3 and 9A.1
-- the design effect is V / (p (1 - p) / sum(n)), and the effective number of independent sequences sum(n) / design
-- effect, here held between 1 and sum(n): chance may make documents look more alike than independence would.
-- Where every sequence, or none, has the property, or there is one document, V says nothing. Documents then count as
-- one trial each, weighted by size: sum(n)^2 / sum(n^2), which is C for documents of equal size (Kish 1965, 11.7).
create or replace macro effective_n(m, n) as
    case when sum(m) = 0 or sum(m) = sum(n) or count(*) filter (n > 0) = 1
        then sum(n) * sum(n) / sum(n * n)
        else greatest(1.0, sum(m) * (sum(n) - sum(m)) / (sum(n) * sum(n)) / greatest(
            sum(m) * (sum(n) - sum(m)) / (sum(n) * sum(n)) / sum(n),
            count(*) filter (n > 0) / (count(*) filter (n > 0) - 1) / (sum(n) * sum(n))
            * (sum(m * m) - 2 * (sum(m) / sum(n)) * sum(m * n) + (sum(m) / sum(n)) ** 2 * sum(n * n))))
    end;

-- cluster_low(m, n), cluster_high(m, n), aggregates over documents: the document-cluster interval of sum(m) / sum(n),
-- the Wilson interval at the effective number of sequences (Franco, Little, Louis and Slud 2019, J. Survey Statistics
-- and Methodology 7:334). NULL where there are no sequences. Simulated with 3 to 20 documents of 1 to 8 sequences it
-- covered the true rate in 88 to 97 % of cases: read it with care below 20 documents.
create or replace macro cluster_low(m, n) as
    case when sum(n) > 0 then wilson_low(sum(m) / sum(n), effective_n(m, n)) end;
create or replace macro cluster_high(m, n) as
    case when sum(n) > 0 then wilson_high(sum(m) / sum(n), effective_n(m, n)) end;

-- student_t(df): the 0.975 quantile of Student's t with df degrees of freedom; NULL below 1. Up to 10 from the table,
-- beyond by the expansion in 1 / df about z (Abramowitz and Stegun 1964, 26.7.5), off by less than 1e-5.
create or replace macro student_t(df) as
    case when df <= 10
        then [12.706204736, 4.302652730, 3.182446305, 2.776445105, 2.570581836,
              2.446911851, 2.364624252, 2.306004135, 2.262157163, 2.228138852][df::int]
        else 1.959963984540054
            + 2.372271230 / df + 2.822498616 / df ** 2 + 2.555849680 / df ** 3 + 1.589534053 / df ** 4
    end;

-- log_p_needed(n, p): the natural logarithm of the smallest p_z with 1 - (1 - p_z)^n >= p, for n >= 1 and 0 < p < 1:
-- p_z = 1 - (1 - p)^(1 / n) = -expm1(x) at x = ln(1 - p) / n, by its series where x is small. The other side of the
-- comparison, log_p_z, is then never taken out of logarithms: 1e-300 is a common p_z, and 1 - 1e-300 is 1.
create or replace macro log_p_needed(n, p) as
    case when ln(1 - p) / n > -1e-5
        then ln(-(ln(1 - p) / n)) + ln(1 + ln(1 - p) / n / 2 + (ln(1 - p) / n) ** 2 / 6)
        else ln(1 - exp(ln(1 - p) / n))
    end;
