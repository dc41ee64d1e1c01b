-- Find Dagster's tables, as who runs this finds them.
create temporary table place on commit drop as
  select pg_catalog.to_regclass('event_logs') as events;
do $$
begin
  if (select events is null from place) then
    raise exception 'Dagster has no tables in the database % yet', pg_catalog.current_database()
      using hint = 'Start the host first, or run `dagster instance migrate` there.';
  end if;
end $$;
