-- What is remembered of people is known by what it is about, not by its words; and how far a conversation was gone through for it.

alter table conversations
    -- Questions that were asked until then were gone through for what is to be remembered.
    add column remembered_until timestamptz,
    -- When the job that goes through the rest is due. Null: none is open.
    add column remember_at timestamptz;

-- Two memories of a person with the same key are the same: a hash of the statement without its punctuation, of the article that
-- was needed again, or of the question that was refused again. Bodies of 500 characters do not fit into an index.
alter table memories drop constraint memories_body_key;
alter table memories add column key bytea not null check (length(key) = 32);
alter table memories add constraint memories_key unique (tenant_id, asker, kind, key);

-- Those of a conversation, closed ones too.
create index handovers_conversation_index on handovers (tenant_id, conversation_id);
