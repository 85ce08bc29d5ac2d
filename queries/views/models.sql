-- Models: by what name and size they are compared.

-- One row is one model and the number of parameters by which it may be compared within its line. A line is the models
-- of one family that were asked for at the same revision, miniatures apart. `size_kind` is the same for the whole line:
-- 'nominal' (as the name says) unless 'counted' (in the checkpoint) is known for more of its models. params is NULL for
-- a model that lacks it.
create or replace view model_sizes as
    select model, family, miniature, revision,
        if(by_name, 'nominal', 'counted') as size_kind,
        if(by_name, nominal_params, n_params) as params
    from (
        select model, family, miniature, nominal_params, n_params,
            nullif(split_part(model, '@', 2), '') as revision,
            count(nominal_params) over line >= count(n_params) over line as by_name
        from models
        window line as (partition by family, miniature, nullif(split_part(model, '@', 2), ''))
    );

-- labelled(measured): the rows of a table, view or CTE of that name, which has a model and a corpus, and of each the
-- model's family, miniature, revision, size_kind and params (see model_sizes), and its role to the corpus: 'trained',
-- 'control' or NULL, not known.
--     select family, params, role, share(memorized) from labelled(matches) group by all
create or replace macro labelled(measured) as table
    from query_table(measured)
    join model_sizes using (model)
    left join model_corpora using (model, corpus);
