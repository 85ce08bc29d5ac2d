-- Memorized sequences beside others: what tells memory from text that is easy.

-- sequences_of(measured), measured being 'noise' or 'layers': one row is one sequence measured under any noise, or in
-- `layer_tokens`. memorized: produced verbatim under the model's base condition; text: see sequence_texts; entropy:
-- completion_entropy; pair: the memorized sequence of the row's pair, NULL: it has no partner; line: a number for
-- model, corpus, sample_rule and sample_window, by which to group faster.
-- A pair is a memorized sequence and an unmemorized one of its domain and sample, of completion entropies at most 0.2
-- standard deviations apart (the root of the mean of the variances of all memorized and all unmemorized ones scored
-- there; Cochran and Rubin 1973, Sankhya A 35:417); none is in two pairs. By entropy, of equals by id, memorized
-- sequences open a bracket and others close one: on a level of brackets, however deep, the two take turns. Neighbours
-- on a level that are near enough make a run, of which the first and the second are a pair, the third and the fourth,
-- and so on; in a run of odd length the first is left out instead of the last where the pairs are nearer so. Among what
-- is left no two could be a pair.
create or replace macro sequences_of(measured) as table
    with sequence as (
        select distinct model, corpus, domain, sequence_id
        from stored.matches
        semi join (from noise_conditions where noise > 0) using (model, condition)
        where measured = 'noise'
        union all
        select distinct model, corpus, domain, sequence_id
        from layer_tokens
        where measured = 'layers'
    ), scored as materialized (
        select model, corpus, domain, sample_rule, sample_window, condition, sequence_id, memorized,
            completion_entropy as entropy,
            dense_rank() over (order by model, corpus, sample_rule, sample_window)::int as line
        from matches
        semi join sequence using (model, corpus, domain)
    ), calipers as (
        select line, domain, 0.2 * sqrt(coalesce(avg(variance), 0)) as caliper
        from (select line, domain, memorized, var_samp(entropy) as variance from scored group by all)
        group by line, domain
    ), in_question as (
        from scored
        semi join sequence using (model, corpus, domain, sequence_id)
    ), base as (
        from with_text(in_question)
    ), levels as (
        select *, sum(if(memorized, 1, -1)) over (partition by line, domain order by entropy, sequence_id)
            - memorized::int as level
        from base
        where entropy is not null
    ), steps as (
        select *, entropy - lag(entropy) over so_far as step
        from levels
        window so_far as (partition by line, domain, level order by entropy, sequence_id)
    ), runs as (
        select *, count(*) filter (step > caliper) over so_far as run
        from steps
        join calipers using (line, domain)
        window so_far as (partition by line, domain, level order by entropy, sequence_id)
    ), places as (
        select *, row_number() over (partition by line, domain, level, run order by entropy, sequence_id) as place
        from runs
    ), turns as (
        select *, if(count(*) over whole % 2 = 1
            and sum(step) filter (place > 1 and place % 2 = 1) over whole < sum(step) filter (place % 2 = 0) over whole,
            place, place + 1) // 2 as turn
        from places
        window whole as (partition by line, domain, level, run)
    ), pairs as (
        select line, domain, unnest(list(sequence_id)) as sequence_id,
            max(sequence_id) filter (memorized) as pair
        from turns
        group by line, domain, level, run, turn
        having count(*) = 2
    )
    select base.*, pair
    from base
    left join pairs using (line, domain, sequence_id);

-- groups_named(memorized, has_pair): the groups that such a sequence is of.
--   'memorized'    produced verbatim
--   'unmemorized'  all others that were measured; those that were chosen to resemble the memorized are among them
--   'matched'      those of the unmemorized that stand in a pair
create or replace macro groups_named(memorized, has_pair) as
    case when memorized then ['memorized'] when has_pair then ['unmemorized', 'matched'] else ['unmemorized'] end;

-- groups_of(measured): one row is one sequence of `sequences_of` and one of its groups. Its pair stands in the rows of
-- the memorized and the matched.
create or replace macro groups_of(measured) as table
    select * exclude (memorized, pair, "group"), "group", if("group" = 'unmemorized', null, pair) as pair
    from (select *, unnest(groups_named(memorized, pair is not null)) as "group" from sequences_of(measured));

-- One row is one sequence measured under noise and one of its groups (see groups_of): a matched one has two rows.
create or replace view noise_groups as
    from groups_of('noise');

-- One row is one sequence of `layer_tokens` and one of its groups, as in `noise_groups`.
create or replace view layer_groups as
    from groups_of('layers');
