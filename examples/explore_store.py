# %% [markdown]
# # Questions to a store, in SQL
#
# Everything that a run computed is in one store, and can be asked while the run is still going on. Answers
# are Arrow tables, which pandas, polars and DuckDB take as they are.
#
# `python examples/explore_store.py [STORE]`; without a store it runs two short rounds to have one.

# %%
from __future__ import annotations

import sys
from pathlib import Path

import sdar

STORE = Path(sys.argv[1] if len(sys.argv) > 1 else "sdar-store-explore")
if not STORE.exists():
    small = {"rollout.tasks": 4, "evaluation.panel_size": 8, "policy.threads": 1}
    sdar.improve(small, store=STORE, rounds=2, quiet=True)
store = sdar.open_store(STORE)

# %% [markdown]
# The questions that come up every day have methods. Without a run they are about the latest one.

# %%
for row in store.runs().to_pylist():
    print(f"{row['id']}  {row['method']}  {row['status']}")
for row in store.learning_curve().to_pylist():
    print(f"round {row['round']}: {row['success']:.1%} [{row['low']:.1%}, {row['high']:.1%}]")

# %% [markdown]
# Which words do the skills argue with most? The gap is the teacher's log-prob minus the student's, in nats:
# below 0 the skills would have had the agent say something else.

# %%
argued = """
    SELECT token, count(*) AS times, round(avg(gap), 2) AS gap, round(avg(success::INTEGER), 2) AS solved
    FROM token_gap GROUP BY token HAVING times > 2 ORDER BY gap LIMIT 8"""
for row in store.sql(argued).to_pylist():
    print(f"{row['token']!r:<16} {row['times']:>3} times, gap {row['gap']:+.2f}, solved {row['solved']:.0%}")

# %% [markdown]
# Which task types are hard, on the panel that every policy plays? `schema` explains every column there is.

# %%
hard = """
    SELECT s.round, e.task_type, count(*) AS tasks, avg(e.success::INTEGER) AS success
    FROM stage_run s JOIN episode e ON e.artifact_id = s.artifact_id
    WHERE s.stage = 'evaluate' GROUP BY ALL ORDER BY s.round, success"""
for row in store.sql(hard).to_pylist():
    print(f"round {row['round']}  {row['task_type']:<20} {row['success']:>5.0%} of {row['tasks']}")
print(f"{store.schema().num_rows} columns to ask about")

# %% [markdown]
# As data frames, where their packages are installed: `store.rounds().to_pandas()` and
# `polars.from_arrow(store.rounds())`. Here Arrow itself will do.

# %%
gaps = store.token_gaps(round=1)
print(f"{gaps.num_rows} tokens in round 1, of {len(gaps['episode_id'].unique())} episodes")
