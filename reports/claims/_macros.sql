-- What the claims share.

-- of_sample(rows): of a finding's rows those of one sample of each family: anchors at spaces with 32+32 tokens where
-- there are such, else the first by name; of published models where there are any, else of miniatures.
create or replace temp macro of_sample(answer) as table
    select *, concat_ws(' ', sample_rule, sample_window) as sample
    from query_table(answer)
    where miniature = (select bool_and(miniature) from query_table(answer))
    qualify dense_rank() over (
        partition by family order by sample_rule is distinct from 'space' or sample_window is distinct from '32+32',
        sample_rule, sample_window) = 1;

-- largest(rows): the rows of each family's largest model, on text that it trained on, of one sample of each corpus, as
-- of_sample has it. A model that is known by its main revision comes before one of another (NAME@REVISION).
create or replace temp macro largest(answer) as table
    from (
        select *, concat_ws(' ', sample_rule, sample_window) as sample
        from query_table(answer)
        where role = 'trained'
            and miniature = (select bool_and(miniature) from query_table(answer) where role = 'trained')
        qualify dense_rank() over (
            partition by family, corpus
            order by sample_rule is distinct from 'space' or sample_window is distinct from '32+32', sample_rule,
                sample_window) = 1
    )
    qualify dense_rank() over (
        partition by family order by params desc nulls last, contains(model, '@'), model) = 1;

-- share_low(w, rate, low), share_high(w, rate, high): total_low and total_high, where all parts have an interval.
create or replace temp macro share_low(w, rate, low) as if(count(low) = count(*), total_low(w, rate, low), null);
create or replace temp macro share_high(w, rate, high) as if(count(high) = count(*), total_high(w, rate, high), null);
