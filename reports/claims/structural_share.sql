-- whether: structural text (code, maths, markup, logs) is memorized more than prose
-- more: structural text is {} as likely to be memorized as prose
-- less: structural text is {} as likely to be memorized as prose
-- unit: times
select family, model, corpus, sample, ratio as value, ratio_low as low, coalesce(ratio_high, 'inf'::double) as high,
    1 as none,
    case when memorized = 0 then 'nothing is memorized' when ratio is null then 'only one of the two is memorized'
        end as note
from largest(structural_share)
where corpus <> 'memorized_evals'
qualify row_number() over (partition by model, corpus order by weighted_by) = 1     -- 'bytes' before 'sample'
