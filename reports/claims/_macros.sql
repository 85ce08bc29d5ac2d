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

-- largest(rows): of these the rows of each family's largest model, of text that it trained on.
create or replace temp macro largest(answer) as table
    from of_sample(answer)
    where role = 'trained'
    qualify dense_rank() over (partition by family order by params desc nulls last, model) = 1;
