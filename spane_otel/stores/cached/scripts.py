"""What Redis does in one step: look something up, keep it unless it changed meanwhile, forget it.

Of an execution there are two keys: a hash with what is kept, and its *generation*, a random text that each change of
the execution replaces. Who wants to keep something read it in three steps: look up (and learn the generation), read the
store, keep. It is kept only if the generation is still the same, so nothing read before a change is kept after it. A
generation lives longer than anybody may take from the first step to the last, by the clock of Redis alone.

The *epoch*, one for all executions of a database, says which hashes count: a new one forgets them all at once.
"""

from typing import Final

KEEP_MILLISECONDS: Final = 20_000
"""What was looked up longer ago is not kept."""
GENERATION_MILLISECONDS: Final = 40_000
EPOCH_MILLISECONDS: Final = 30 * 86_400_000
HELD: Final = "held"
"""The generation while an execution is being changed: nothing is kept."""

LOOK_UP: Final = """
-- KEYS: hash, generation, epoch. ARGV: an epoch if there is none, milliseconds for it to live, fields.
-- Returns: milliseconds, generation, epoch, whether the hash counts, a value or nil for each field.
local epoch = redis.call('GET', KEYS[3])
if not epoch then
  epoch = ARGV[1]
  redis.call('SET', KEYS[3], epoch, 'PX', ARGV[2])
end
local time = redis.call('TIME')
local answer = {time[1] * 1000 + math.floor(time[2] / 1000), redis.call('GET', KEYS[2]) or '', epoch, 0}
local counts = redis.call('HGET', KEYS[1], '@') == epoch
if counts then answer[4] = 1 end
for i = 3, #ARGV do
  answer[i + 2] = counts and redis.call('HGET', KEYS[1], ARGV[i])
end
return answer
"""

KEEP: Final = """
-- KEYS: hash, generation, epoch. ARGV: milliseconds, generation and epoch as looked up, the longest age of a
-- look-up, milliseconds to live, then fields and values. Returns whether they are kept.
local time = redis.call('TIME')
local age = time[1] * 1000 + math.floor(time[2] / 1000) - ARGV[1]
if age < 0 or age > tonumber(ARGV[4]) then return 0 end
if (redis.call('GET', KEYS[2]) or '') ~= ARGV[2] or redis.call('GET', KEYS[3]) ~= ARGV[3] then return 0 end
if redis.call('HGET', KEYS[1], '@') ~= ARGV[3] then
  redis.call('DEL', KEYS[1])
  redis.call('HSET', KEYS[1], '@', ARGV[3])
end
for i = 6, #ARGV, 2 do redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1]) end
redis.call('PEXPIRE', KEYS[1], ARGV[5])
return 1
"""

FORGET: Final = """
-- KEYS: pairs of hash and generation. ARGV: the new generation, its milliseconds to live, fields (none: all).
-- What is kept goes first: where Redis is full, it refuses the generation and whatever anybody wants to keep.
for i = 1, #KEYS, 2 do
  if #ARGV > 2 then
    redis.call('HDEL', KEYS[i], unpack(ARGV, 3))
  else
    redis.call('DEL', KEYS[i])
  end
end
for i = 2, #KEYS, 2 do redis.call('SET', KEYS[i], ARGV[1], 'PX', ARGV[2]) end
return 1
"""
