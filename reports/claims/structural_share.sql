-- whether: structural text (code, maths, markup, logs) is memorized more than prose
-- more: structural text is {} as likely to be memorized as prose
-- less: structural text is {} as likely to be memorized as prose
-- unit: times
with studied as (
    from structural_share where corpus <> 'memorized_evals'
)
select family, model, corpus, concat(sample, if(weighted_by = 'sample', ', domains as sampled', '')) as sample,
    ratio as value, ratio_low as low, coalesce(ratio_high, 'inf'::double) as high, 1 as none,
    case when ratio is not null then null
        when n = 0 then 'the class of no domain is known'
        when not (expected_share > 0 and expected_share < 1) then 'text of one class only'
        when memorized = 0 then 'nothing is memorized'
        else 'only one of the two is memorized'
    end as note
from largest(studied)
qualify row_number() over (partition by model, corpus order by ratio is null, weighted_by) = 1  -- 'bytes' before 'sample'
