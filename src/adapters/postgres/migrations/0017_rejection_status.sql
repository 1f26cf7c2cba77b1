-- The HTTP status that the contract gave a rejection when it was decided, so that a repeated request gets the first answer also after a deploy has
-- given that rejection another status. Null: no rejection of a contract, or stored before this column was there.
alter table twofold._outcome add column rejected_with smallint;
