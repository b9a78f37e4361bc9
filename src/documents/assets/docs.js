// Shows /openapi.json. A login of this origin is used by "Try it out": the browser sends its cookie.
SwaggerUIBundle({
  url: '/openapi.json',
  dom_id: '#swagger-ui',
  deepLinking: true,
  // Do not show the document to the validator of swagger.io.
  validatorUrl: null,
});
