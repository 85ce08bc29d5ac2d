-- One row is one model on one domain of a corpus it trained on, against one control: what it memorizes beyond what can
-- be guessed without having seen the text.
--
-- Why this number: a model reproduces some text because it is frequent, formulaic or easy, not because it was in its
-- training data. What a model that never saw the corpus reproduces of the same text says how much that is; the adjusted
-- rate is the difference. Compare controls of like size: a stronger one guesses more.
-- Bases of comparison, a row for each that there is:
--   anchor           anchors that both were asked about, reproduced when the first `horizon` bytes from the anchor on
--                    match (as in shared_memorization): the same for all controls, easier than a whole continuation
--   sequence         the control has the same tokenizer and was asked about the same sequences: memorized or not
--   not comparable   the two have neither sequences nor anchors in common: NULL
--   held-out corpus  the model itself, on the domain of the same name of a corpus that it did not train on: other
--                    texts, which may be easier or harder
-- Interval: 95 %, of the difference, from the document-cluster intervals of both rates and, where the texts are the
-- same, the correlation of their errors (difference_low in macros.sql).
-- Leaves out: sequences or anchors that only one of the two was asked about, anchors inside a token, or with fewer
-- bytes after them than `horizon` (left_out is their share); of several windows of a model on one anchor all but the
-- one with the longest prompt; and that a control may have met copies of the text elsewhere.
-- Units: rates and shares in [0, 1], their difference in [-1, 1].
-- Source: docs/method/guessability.md; Carlini et al. 2023, arXiv 2202.07646, section 4.1 (a model trained on
-- other data as a baseline).
-- Key: model, corpus, sample_rule, sample_window, condition, domain, control, control_corpus, control_condition, basis,
--   horizon
-- Columns:
--   family
--   model              the model, which trained on the corpus
--   miniature, params, corpus
--   sample_rule        where anchors were drawn: 'space', 'start' or 'imported'; the same for both
--   sample_window      tokens (or bytes) before and after the cut; the same for both
--   condition          under which the model was measured: see `conditions`
--   domain, class
--   control            the model that it is compared with: a control of the corpus, or itself
--   control_params     the control's number of parameters; NULL: not known
--   control_corpus     corpus on which the control was asked
--   control_condition  under which it was measured; NULL where they are not comparable
--   basis              see above
--   horizon            bytes that must match; NULL but where the basis is the anchor
--   n                  sequences or anchors of the model that are compared
--   n_control          those of the control
--   documents          distinct texts that the n lie in
--   left_out           share of the model's sequences or anchors of the domain that is not compared
--   rate               share of the n that the model reproduces
--   control_rate       share of the n_control that the control reproduces
--   adjusted_rate      rate - control_rate
--   low, high
with parameters as not materialized (select
    32 as horizon       -- bytes that both continuations must hold, at anchors
), lines as materialized (
    select *, row_number() over ()::int as line from control_sums_at(parameters)
), alone as (       -- each model on each domain
    select line, sum(documents * n) as n, sum(documents)::bigint as documents,
        sum(documents * m) / sum(documents * n) as rate, cluster_low(m, n, w := documents) as rate_low,
        cluster_high(m, n, w := documents) as rate_high
    from match_sums s
    join lines l on l.model = s.model and l.corpus = s.corpus and l.domain = s.domain and l.condition = s.condition
        and l.sample_rule is not distinct from s.sample_rule and l.sample_window is not distinct from s.sample_window
    group by line
), compared as (
    select line, c.control, corpus as control_corpus, c.control_condition, c.basis, c.n, c.n as n_control, c.documents,
        if(c.basis = 'anchor', anchors, sequences) as units, c.rate, c.rate_low, c.rate_high, c.control_rate,
        c.control_low, c.control_high, c.correlation
    from (select *, unnest(controls) as c from lines)
    union all
    select a.line, a.model, b.corpus, b.condition, 'held-out corpus', x.n, y.n, x.documents,
        a.sequences, x.rate, x.rate_low, x.rate_high, y.rate, y.rate_low, y.rate_high, 0
    from lines a
    join lines b on a.model = b.model and a.domain = b.domain and a.tokenizers = b.tokenizers
        and a.sample_rule is not distinct from b.sample_rule and a.sample_window is not distinct from b.sample_window
    join alone x on x.line = a.line
    join alone y on y.line = b.line
    where a.role = 'trained' and b.role = 'control'
), wanted as (
    select line, c.model as control
    from lines a
    join model_corpora c using (corpus)
    where a.role = 'trained' and c.role = 'control'
), answered as (
    from compared
    union all by name
    select line, control, corpus as control_corpus, 'not comparable' as basis, 0 as n, 0 as n_control, 0 as documents,
        0 as units
    from wanted
    anti join compared using (line, control)
    join lines using (line)
)
select m.family, model, m.miniature, m.params, corpus, sample_rule, sample_window, condition, domain, "class", control,
    c.params as control_params, control_corpus, control_condition, basis,
    if(basis = 'anchor', horizon, null) as horizon,
    n::bigint as n, n_control::bigint as n_control, documents, 1 - n / greatest(units, 1) as left_out,
    rate, control_rate, rate - control_rate as adjusted_rate,
    difference_low(rate, rate_low, control_rate, control_high, correlation) as low,
    difference_high(rate, rate_high, control_rate, control_low, correlation) as high
from answered
join lines using (line)
join model_sizes m using (model)
join model_sizes c on c.model = control
left join domains using (corpus, domain)
order by m.family, m.params, model, corpus, sample_rule, sample_window, domain, control, control_corpus, basis
