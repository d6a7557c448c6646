// Starts Swagger UI on the description that this server gives.
SwaggerUIBundle({ url: "/openapi.json", dom_id: "#swagger", deepLinking: true });
