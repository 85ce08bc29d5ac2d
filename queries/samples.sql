-- By which rule the anchors were drawn, and how the window was cut around them: what must be equal where rows are added
-- up. Run first: the views of tables whose rows are of a sample read it.
--   sample_rule     'space' or 'start', as `memlake ingest sample --at` says; 'imported': not drawn here
--   sample_window   tokens before and after the cut, 32+32, or bytes:128+128

-- One row is one sample. Of imported sequences the window is told only where it is the same for all of them.
create or replace view samples as
    select settings->>'$.sample' as sample, any_value(settings->>'$.rule.at') as sample_rule,
        any_value(settings->>'$.rule.window') as sample_window
    from stored.cells
    where experiment = 'sample' and outcome = 'done'
    group by all
    union all
    select sample, 'imported', same_or_null(prefix_tokens || '+' || n_tokens)
    from stored.sequences
    where external_id is not null
    group by sample;

-- One row is one unit of work whose rows are about sequences of one sample. Results made elsewhere name no sample: they
-- are of that of their sequences, where it is one.
create or replace view cell_samples as
    with work as (
        select distinct cell, coalesce(settings->>'$.sample', 'imported-' || cell) as sample,
            settings->>'$.digest' is not null as imported
        from stored.cells
        where outcome = 'done'
    )
    select cell, sample_rule, sample_window
    from work
    join samples using (sample)
    union all
    select cell, same_or_null(sample_rule), same_or_null(sample_window)
    from (from work anti join samples using (sample) where imported)
    join (select cell, sequence_id from stored.matches) using (cell)
    join (select sequence_id, sample from stored.sequences) s using (sequence_id)
    left join samples on samples.sample = s.sample
    group by cell;
