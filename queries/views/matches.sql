-- What models produce of the sequences.

-- One row is one continuation position of one row of `matches`. position: from 0; matched: the greedy generation has
-- the target token there, NULL where decoding was skipped; forced_matched: the arg-max does, given the true tokens
-- before; generated: the greedy token; logprob: natural log-probability of the target, given the true tokens before.
create or replace view match_positions as
    select model, corpus, domain, sample_rule, sample_window, condition, sequence_id, anchor_id, n_tokens,
        unnest(range(n_tokens)) as position, get_bit("match"::bit, position::int) = 1 as matched,
        get_bit(forced_match::bit, position::int) = 1 as forced_matched,
        generated[position + 1] as generated,
        logprobs[position + 1] as logprob
    from matches;

-- One row is one prompt length of one row of `prompt_compression`. kept: tokens of the prompt that were kept.
create or replace view prompt_lengths as
    select model, corpus, domain, sample_rule, sample_window, condition, sequence_id, "window", prefix_tokens,
        shortest, unnest(range(1, prefix_tokens + 1)) as kept, get_bit(successes::bit, kept::int - 1) = 1 as success
    from prompt_compression;

-- One row is one row of `matches` and the place of its sequence: anchor_id, tokenizer, prefix_tokens, anchor, byte_cut,
-- byte_end and byte_ends are as in `sequences`, text as in `sequence_texts`. reach: bytes from the anchor on by which
-- the model can be judged; NULL where a token spans the anchor, or it is not known how many bytes match.
create or replace view anchored_matches as
    select m.* replace (s.anchor_id as anchor_id, s.prefix_tokens as prefix_tokens), tokenizer, anchor, byte_cut,
        byte_end, byte_ends, coalesce(text, sequence_id) as text,
        if(byte_cut = anchor and matched_bytes is not null, byte_end - byte_cut, null) as reach
    from matches m
    join (
        select sequence_id, corpus, domain, tokenizer, anchor_id, anchor, byte_cut, byte_end, byte_ends, prefix_tokens
        from sequences
    ) s using (sequence_id, corpus, domain)
    left join sequence_texts using (sequence_id, corpus, domain);

-- lines_of(measured): of a table, view or CTE of that name one row for each model, corpus, sample and condition it has,
-- with a number, line. on_lines(measured, lines): its rows with the line that each is of. To join and to group by a
-- number instead of names is three times as fast.
create or replace macro lines_of(measured) as table
    select *, row_number() over ()::int as line
    from (select distinct model, corpus, sample_rule, sample_window, condition from query_table(measured));
create or replace macro on_lines(measured, lines) as table
    select m.*, line
    from query_table(measured) m
    join query_table(lines) l on l.model = m.model and l.corpus = m.corpus and l.condition = m.condition
        and l.sample_rule is not distinct from m.sample_rule and l.sample_window is not distinct from m.sample_window;

-- alike_texts(patterns): of a table or CTE of that name, of which a row is one sequence (or anchor) under several models
-- ("group": of models that were asked about the same; part: a domain, or 0; text; pattern: bits that say what became of
-- it under each model), the texts that are alike, which have the same patterns in the same parts. members: {part,
-- pattern} of each sequence of such a text; documents: how many texts they are. What is asked of two models at a time is
-- then asked of each kind of text and not of each text.
create or replace macro alike_texts(patterns) as table
    select "group", members, count(*) as documents
    from (
        select "group", list_sort(list({'part': part, 'pattern': pattern})) as members
        from query_table(patterns)
        group by "group", text
    )
    group by "group", members;

-- mark_at(pattern, place): the number that three bits of a pattern hold, the lowest first.
create or replace macro mark_at(pattern, place) as
    get_bit(pattern, place) + 2 * get_bit(pattern, place + 1) + 4 * get_bit(pattern, place + 2);
