-- By which rule the anchors were drawn, and how the window was cut around them: what must be equal where rows are added
-- up. Run before the views of tables whose rows are of a sample, which look here. These are tables and not views, so
-- that they are made once a connection and not at each look.
--   sample_rule     'space' or 'start', as `memlake ingest sample --at` says; 'imported': not drawn here
--   sample_window   tokens before and after the cut, 32+32 (?: not known), or bytes:128+128

-- One row is one sample. Imported sequences need not be cut alike: the window is NULL where they are not.
create or replace table samples as
    select settings->>'$.sample' as sample, any_value(settings->>'$.rule.at') as sample_rule,
        any_value(settings->>'$.rule.window') as sample_window
    from stored.cells
    where experiment = 'sample' and outcome = 'done'
    group by all
    union all
    select sample, 'imported', same_or_null(tokens_window(prefix_tokens, n_tokens))
    from stored.sequences
    where external_id is not null
    group by sample;

-- One row is one unit of work whose rows are about sequences of one sample; NULL is what its sequences do not share.
-- Results made elsewhere name no sample: they are of those of their sequences.
create or replace table cell_samples as
    with work as (
        select distinct cell, coalesce(settings->>'$.sample', 'imported-' || cell) as sample,
            json_exists(settings, '$.model') and json_exists(settings, '$.digest') as is_result
        from stored.cells
        where outcome = 'done'
    )
    select cell, sample_rule, sample_window
    from work
    join samples using (sample)
    union all
    select cell, same_or_null(sample_rule), same_or_null(sample_window)
    from (select cell, sequence_id from stored.matches semi join (from work where is_result) using (cell))
    join (select sequence_id, sample from stored.sequences) using (sequence_id)
    left join samples using (sample)
    group by cell;

-- One row is one sequence of which a unit of work does not tell.
create or replace table sequence_samples as
    select sequence_id, sample_rule, coalesce(sample_window, tokens_window(prefix_tokens, n_tokens)) as sample_window
    from stored.sequences
    left join samples using (sample)
    where sequence_id in (
        select sequence_id
        from (select cell, sequence_id from stored.matches union all select cell, sequence_id from stored.sequences)
        join cell_samples c using (cell)
        where c.sample_rule is null or c.sample_window is null
    );
