-- One row is one screened cell of head ablation: what screening cost, and how well it found the important heads.
--
-- Why this number: taking away every head on every sequence is what costs months. Screening ranks heads by a cheap
-- estimate, takes away the leaders on a part of the sequences, and draws others at random to see what it missed.
-- Whether the ranking may be trusted is therefore measured with each run: recall is the share of the top fifth (on the
-- measured sequences) that the leaders hold, estimated from the random draw, and recall_low the lower end of its 95 %
-- interval.
-- Leaves out: heads taken away on every sequence without screening, which have no row here; what else runs beside
-- the block passes that cost counts.
-- Units: cost and recall are shares; cost of 0.1 is ten times cheaper than all heads on all sequences.
-- Source: Michel, Levy and Neubig 2019, arXiv 1905.10650, section 4.1 (importance from one backward pass);
-- Jamieson and Talwalkar 2016, arXiv 1502.07943 (successive halving).
-- Key: model, corpus, sample_rule, sample_window, condition, domain, method, cell
-- Columns:
--   family, model, miniature, params, corpus, role, sample_rule, sample_window, condition, domain, method, heads
--   sequences         sequences of the cell
--   measured          sequences on which heads were taken away
--   confirmed         heads taken away on the measured sequences because they led
--   audited           heads drawn at random from the others and taken away on the same sequences
--   cost              block passes, as a share of taking away every head on every sequence
--   recall            share of the top fifth on the measured sequences among the leaders, as the audit estimates it
--   recall_low        lower end of its 95 % interval
--   rank_correlation  Spearman's, of estimate and measurement, confirmed and audited heads; NULL: too few, or none
--   cell              the unit of work
select family, model, miniature, params, corpus, role, sample_rule, sample_window, condition, domain, method, heads,
    sequences, measured, confirmed, audited, cost, recall, recall_low, rank_correlation, cell
from labelled(head_screens)
order by family, params, model, corpus, sample_rule, sample_window, domain, method, cell
