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
-- number instead of names is three times as fast. Few models have several samples under one condition: to look at the
-- sample of the rows that were found costs half of what it costs to find rows by it.
create or replace macro lines_of(measured) as table
    select *, row_number() over ()::int as line
    from (select distinct model, corpus, sample_rule, sample_window, condition from query_table(measured));
create or replace macro on_lines(measured, lines) as table
    select m.*, line
    from query_table(measured) m
    join query_table(lines) l on l.model = m.model and l.corpus = m.corpus and l.condition = m.condition
    where coalesce(l.sample_rule = m.sample_rule, l.sample_rule is null and m.sample_rule is null)
        and coalesce(l.sample_window = m.sample_window, l.sample_window is null and m.sample_window is null);

-- alike_texts(patterns): of a table or CTE of that name, of which a row is one sequence (or anchor) under several
-- models ("group": of models that were asked about the same; part: a domain, or 0; text; pattern: bits that say what
-- became of it under each model), the texts that are alike, which have the same patterns in the same parts. One row is
-- one sequence of one kind of text: part and pattern; kind: a number; documents: texts of that kind. What is asked of
-- two models at a time is then asked of each kind of text and not of each text. Texts are told apart by sums of
-- hashes of 64 bits over their sequences, hashed twice, since DuckDB puts two hashes together bit by bit, which sums see
-- through: of a million kinds the chance that any two are taken for one is 3e-8.
create or replace macro alike_texts(patterns) as table
    with kinds as (
        select "group", count(*) as documents, min(text) as text, row_number() over () as kind
        from (
            select "group", text, sum(hash(hash(part, pattern))::hugeint) as members
            from query_table(patterns)
            group by "group", text
        )
        group by "group", members
    )
    select "group", kind, documents, part, pattern
    from query_table(patterns)
    join kinds using ("group", text);

-- mark_at(pattern, place): the number that three bits of a pattern hold, the lowest first.
create or replace macro mark_at(pattern, place) as
    get_bit(pattern, place) + 2 * get_bit(pattern, place + 1) + 4 * get_bit(pattern, place + 2);

-- met_patterns(lines, bytes): of lines of models (lines_of) with a "group", of lines that may be compared, and a place
-- in it, what became of each sequence and of each anchor under all of them; basis: 'sequence' or 'anchor', text as in
-- `sequence_texts`. pattern has four bits a line, at 4 * place: asked; can be judged at the anchor by so many bytes
-- (the continuation begins there and holds them; of a sequence: NULL); reproduced by that (of a sequence: by what is
-- known of its bytes); memorized. Of several windows of a model on one anchor that with the longest prompt counts.
create or replace macro met_patterns(lines, bytes) as table
    with blank as (
        select bitstring('0', 4 + 4 * max(place)::int) as none from query_table(lines)
    ), marks as (
        select line, "group", mark, set_bit(set_bit(set_bit(set_bit(none, 4 * place, 1), 4 * place + 1, mark & 1),
            4 * place + 2, (mark >> 1) & 1), 4 * place + 3, mark >> 2) as bits
        from query_table(lines), (select unnest(range(8))::int as mark), blank
    ), of_sequence as (
        select "group", sequence_id, bit_or(bits) as pattern
        from (
            select line, sequence_id, (if(matched_bytes is null, 0, 1) + if(matched_bytes >= bytes, 2, 0)
                + if(memorized, 4, 0))::int as mark
            from on_lines(matches, lines)
        )
        join marks using (line, mark)
        group by "group", sequence_id
    ), judging as (     -- the bits of asked, and those that stand where a sequence cannot be judged at its anchor
        select bit_or(set_bit(none, 4 * place, 1)) as asked,
            bit_or(set_bit(set_bit(none, 4 * place, 1), 4 * place + 3, 1)) as unjudged
        from query_table(lines), blank
    ), placed as materialized (
        select "group", sequence_id, s.domain, tokenizer, anchor_id, prefix_tokens, coalesce(text, sequence_id) as text,
            pattern, pattern & asked as asked,
            if(byte_cut = anchor and byte_end - byte_cut >= bytes, pattern, pattern & unjudged) as judged
        from of_sequence
        join (
            select sequence_id, domain, tokenizer, anchor_id, prefix_tokens, anchor, byte_cut, byte_end from sequences
        ) s using (sequence_id)
        left join (select sequence_id, text from sequence_texts) using (sequence_id), judging
    ), at_anchors as materialized (     -- contested: a model was asked twice
        select "group", anchor_id, any_value(domain) as domain, any_value(text) as text, bit_or(judged) as pattern,
            sum(bit_count(asked)) > bit_count(bit_or(asked)) as contested
        from placed
        where anchor_id is not null
        group by "group", anchor_id
    ), settled as (
        select "group", anchor_id, list_reduce(
            list({'asked': asked, 'pattern': judged} order by prefix_tokens desc, sequence_id), lambda x, y: {
                'asked': x.asked | y.asked, 'pattern': x.pattern | (y.pattern
                & ~(x.asked | (x.asked >> 1) | (x.asked >> 2) | (x.asked >> 3)))}).pattern as pattern
        from placed
        join (from at_anchors where contested) using ("group", anchor_id)
        group by "group", anchor_id
    )
    select 'sequence' as basis, "group", domain, tokenizer, text, pattern from placed
    union all
    select 'anchor', "group", domain, null, text, coalesce(settled.pattern, at_anchors.pattern)
    from at_anchors
    left join settled using ("group", anchor_id);
