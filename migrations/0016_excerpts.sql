-- What readers see of a revision whose author wrote no summary: the beginning of its text. Null where the author wrote one,
-- and in revisions of earlier releases until reconciliation has been there, for which the index is.
alter table revisions add column excerpt text check (length(excerpt) <= 500);
alter table revisions add column shown_summary text not null generated always as (coalesce(excerpt, summary)) virtual;
create index revisions_without_excerpt on revisions (tenant_id, id) where excerpt is null and summary !~ '\S';
