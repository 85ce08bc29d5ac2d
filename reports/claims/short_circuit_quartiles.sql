-- whether: attention of the last blocks serves memory more than ability
-- more: short-circuiting one of the last quarter of blocks costs {} more of what the largest model memorized than of its accuracy on unseen text
-- less: short-circuiting one of the last quarter of blocks costs {} less of what the largest model memorized than of its accuracy on unseen text
-- unit: percentage points
select family, model, corpus, sample, exact_drop - held_out_drop as value,
    difference_low(exact_drop, exact_drop_low, held_out_drop, held_out_drop_high, 0) as low,
    difference_high(exact_drop, exact_drop_high, held_out_drop, held_out_drop_low, 0) as high, 0 as none,
    if(held_out_drop_low is null, 'no unseen text was measured', null) as note
from largest(short_circuit_quartiles)
where quarter = 4
