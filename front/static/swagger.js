// Starts Swagger UI on the description that this server gives, and asks no validator elsewhere.
SwaggerUIBundle({
  url: "/openapi.json",
  dom_id: "#swagger",
  deepLinking: true,
  validatorUrl: null,
  requestInterceptor: withoutEmptyFields,
});

// Swagger UI sends the fields of a form that were left empty, too; to us those are given.
function withoutEmptyFields(request) {
  if (request.body instanceof FormData)
    for (const [name, value] of [...request.body])
      if (value === "") request.body.delete(name);
  return request;
}
