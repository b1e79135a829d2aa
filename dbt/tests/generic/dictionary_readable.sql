{# Warns where rows are published and the dictionary is unreadable: then types are those that sources.yml declares. #}
{% test dictionary_readable(model, pull) %}
  {{ config(severity = 'warn') }}
  select 'the dictionary is unreadable: types are those of sources.yml' as reason
  where {{ 'true' if landed_var(pull ~ '_files', []) and not landed_var(pull ~ '_columns', {}) else 'false' }}
  -- of {{ model }}
{% endtest %}
